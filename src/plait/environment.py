"""Where a run was made: versions, commit, hardware.

In: nothing but the machine, and the run's seed.
Out: plain values for `environment.json`.
Invariant: it asks nothing over the network, and what cannot be found out is null.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "numpy", "safetensors", "tokenizers", "pillow", "simplejpeg", "soundfile", "soxr", "pydantic")


def environment(seed: int) -> dict[str, object]:
    """Everything that a figure of this run may depend on beside its configuration."""
    return {
        "plait": version_of("plait"),
        "commit": commit(),
        "seed": seed,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "hardware": hardware(),
    }


def version_of(package: str) -> str | None:
    """The installed version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of Plait's own source, `+` behind it where files were changed since; null for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, timeout=10, check=True)
        return done.stdout.decode("utf-8", "replace").strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, object]:
    """Processor, memory and accelerator."""
    return {
        "system": platform.platform(),
        "processor": processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": memory_gb(),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def processor() -> str | None:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def memory_gb() -> float | None:
    """The machine's memory."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None
