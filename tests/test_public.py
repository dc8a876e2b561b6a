"""`import plait` is light, and its names work whatever was imported before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import plait

HEAVY = ("torch", "numpy", "pandas", "scipy", "matplotlib", "pyarrow", "soundfile")


def python(code: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy():
    loaded = python("import sys, plait; plait.UserError, plait.__version__; print(*sys.modules)").split()
    assert not {*HEAVY, "pydantic"} & set(loaded)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["generate", "-h"], ["data", "check", "-h"], []])
def test_help_imports_nothing_heavy(words: list[str]):
    code = f"import sys; from plait.cli.app import run; run({words!r}); print(); print(*sys.modules)"
    assert not set(HEAVY) & set(python(code).splitlines()[-1].split())


BEFORE = [
    "import plait",
    "import plait.train",
    "import plait.train.fit",
    "from plait.train import fit",
    "from plait import train",
    "import plait.api",
    "import plait.train.loop as inner; assert inner.__name__ == 'plait.train.loop'",
    "import plait; plait.load",
    "import plait; plait.train; import plait.train.step",
]
CALL = """
import plait, sys
try:
    plait.train('gone.yaml', 'run')
except plait.UserError as error:
    print('refused', 'gone.yaml' in str(error), flush=True)
from plait.train import TrainResult
import plait.train.loop
assert plait.train is sys.modules['plait.train'] and plait.train.loop.TrainResult is TrainResult
"""
IN_CHILDREN = """
import os, sys, traceback
import PIL.Image, pydantic, pyarrow, scipy.stats, tokenizers, torch, torch.utils.data, yaml  # what takes long, and is none of ours
assert not [name for name in sys.modules if name.startswith('plait')]
for code in CODES:
    child = os.fork()
    if not child:
        try:
            exec(code, {})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, code
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each order needs a process in which nothing of plait is imported")
def test_train_can_be_called_and_is_the_subpackage_in_every_order():
    codes = [f"{before}\n{CALL}" for before in BEFORE]
    assert python(f"CODES = {codes!r}\n{IN_CHILDREN}") == "\n".join(["refused True"] * len(BEFORE))


def test_every_public_name_is_there():
    assert set(plait.__all__) <= set(dir(plait))
    assert all(callable(getattr(plait, name)) for name in plait.__all__ if name != "__version__")
    assert plait.__version__
    with pytest.raises(AttributeError, match="nonsense"):
        plait.nonsense  # noqa: B018
