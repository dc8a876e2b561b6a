"""Where output goes: into encodings that lack its signs, to readers that leave, nowhere at all; and runs under other locales."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from cli_helpers import Shell
from test_failures import linked as linked
from test_failures import work as work

from plait.cli.app import run

SMALL = """
data: {manifest: rows.jsonl}
width: 16
encoders: {text: {kind: transformer, layers: 1}}
lm: {kind: gru, layers: 1}
train: {steps: 2, batch_size: 8, threads: 1, device: cpu, dtype: fp32, matmul: highest, evaluate_every: 2, modality_dropout: 0.2}
evaluate: {num_resamples: 100}
"""
EVERY = [
    ["--help"],
    ["train", "run.yaml", "--out", "new"],
    ["evaluate", "run"],
    ["explain", "run"],
    ["report", "run"],
    ["search", "run", "red", "--in", "data/manifest.jsonl"],
    ["generate", "run", "--text", "grün"],
    ["generate", "run", "--text", "grün", "--top", "5"],
    ["data", "check", "data"],
    ["init", "data/manifest.jsonl", "--out", "first.yaml"],
    ["fusions"],
    ["cache"],
    ["schema"],
    ["evaluate", "nö→where"],
    ["train", "run.yaml", "fusion.kind=grün→"],
]


def printed(monkeypatch: pytest.MonkeyPatch, words: list[str], encoding: str) -> tuple[int, str, str]:
    """Exit code and what a command prints into streams that are strict about their encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        code = run(words)
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)  # pyright: ignore
    return code, out, err


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_every_command_can_print_in_every_encoding(encoding: str, work: Path, monkeypatch: pytest.MonkeyPatch):
    """Previously, `plait evaluate RUN > out.txt` with cp1252 ended with UnicodeEncodeError at its first arrow, `fusions` at Σ."""
    for words in EVERY if encoding == "cp1252" else [["evaluate", "run"], ["fusions"], ["evaluate", "nö→where"]]:
        code, out, err = printed(monkeypatch, words, encoding)
        assert "Traceback" not in err
        assert "UnicodeEncodeError" not in err
        assert code == (2 if "→" in words[-1] or words[1:] == ["nö→where"] else 1 if words[0] == "data" else 0), err
        shutil.rmtree("new", ignore_errors=True)
        Path("first.yaml").unlink(missing_ok=True)
        if words[0] in ("fusions", "generate", "search"):
            code, out, err = printed(monkeypatch, [*words, "--json"], encoding)
            found = json.loads(out)
            assert words[0] != "fusions" or "Σ_m" in found["fusions"]["sum"]["formula"]


def plait(*words: str, cwd: Path, shell: str | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own; `shell`: what stands behind it."""
    line = " ".join([f"{sys.executable} -m plait", *words, shell or ""])
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(["bash", "-c", line], cwd=cwd, env=env, capture_output=True, timeout=120)


def test_a_reader_that_leaves_is_no_fault(tmp_path: Path):
    """Previously, `plait … | head -1` could end with BrokenPipeError, or with Python's own words at the very end."""
    for words in (["schema"], ["fusions"], ["--help"]):
        done = plait(*words, cwd=tmp_path, shell="| head -c 1; exit ${PIPESTATUS[0]}")
        assert done.returncode in (0, 141)
        assert (done.stderr, len(done.stdout)) == (b"", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_into_a_full_disk_is_one_message(tmp_path: Path):
    for words in (["fusions"], ["schema"], ["--version"]):
        done = plait(*words, cwd=tmp_path, shell="> /dev/full")
        assert done.returncode == 2
        assert done.stderr.startswith(b"plait: standard output: No space left on device"), done.stderr
        assert done.stderr.count(b"\n") == 1


def test_no_streams_at_all(tmp_path: Path):
    """Previously, without standard error, asking whether it is a terminal was an AttributeError."""
    for shell in (">&-", "2>&-", ">&- 2>&- <&-"):
        assert plait("cache", cwd=tmp_path, shell=shell).returncode == 0
    assert plait("evaluate", "nowhere", cwd=tmp_path, shell=">&- 2>&-").returncode == 2


@pytest.mark.parametrize(
    "environment",
    [
        {"COLUMNS": "1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "x"},
        {"TERM": "dumb"},
        {"TERM": ""},
        {"HOME": ""},
        {"LC_ALL": "xx"},
    ],
    ids=str,
)
def test_strange_surroundings(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Shell
):
    """The locale is read as Python begins, so `cache`, which imports much, has a process of its own for that one only."""
    for words in (["--help"], ["evaluate"], *([["cache"]] if "LC_ALL" in environment else [])):
        done = plait(*words, cwd=tmp_path, **environment)
        assert done.returncode == (2 if words == ["evaluate"] else 0), done.stderr
        assert b"Traceback" not in done.stderr
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert (found := shell("cache")).code == 0, found
    assert "Traceback" not in found.err


def test_ctrl_c_before_a_command_has_begun(tmp_path: Path):
    """One line while modules are still imported, too."""
    command = [sys.executable, "-m", "plait", "fusions"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) in ((130, b"plait: interrupted\n"), (0, b""))


LOCALES = {
    "latin-1": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "en_US.ISO-8859-1"},
    "ascii": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
}


ONE_AFTER_ANOTHER = """
import json, shlex, sys
from plait.cli import main
if __name__ == "__main__":  # a comparison begins processes, which read this file
    commands, codes = json.loads(sys.argv[1]), []
    for words in commands:
        sys.argv[1:] = shlex.split(words)
        try:
            main()
        except SystemExit as left:
            codes.append(left.code)
    with open("codes.json", "w") as file:
        json.dump(codes, file)
"""
"""Commands in one process, since its locale is that of its beginning, and the imports take longer than the commands."""


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCALES)
def test_a_run_under_another_locale(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Previously, a run with a segment `antwört`, trained under a Latin-1 locale, could never be read again."""
    environment = dict(LOCALES[name])
    if name == "latin-1":
        made = tmp_path / environment["LC_ALL"]
        tool = shutil.which("localedef")
        if (
            tool is None
            or subprocess.run([tool, "-i", "en_US", "-f", "ISO-8859-1", made], capture_output=True).returncode > 1
        ):
            pytest.skip("no localedef that makes this locale")
        environment["LOCPATH"] = str(tmp_path)
    rows = [
        {"id": f"zeile{n}ü", "split": split, "text": f"sag {word}", "target": {"antwört": word}, "tags": {"töne": word}}
        for n, (split, word) in enumerate(
            (s, w) for s in ("train", "train", "tune", "test") for w in ("rot", "grün", "blau")
        )
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "run.yaml").write_text(SMALL, encoding="utf-8")
    commands = (
        "train run.yaml --out run",
        "train --resume run train.steps=3",
        "evaluate run",
        "explain run",
        "report run",
        "generate run --text 'sag rot'",
        "generate run --manifest rows.jsonl --out answers.jsonl",
        "generate run --manifest rows.jsonl --out answers.jsonl",
        "compare run.yaml --arms fusion.kind=sum --no-baselines --seeds 1 --explain 0 --price-seconds 0 --folder c",
        "data check rows.jsonl",
        "init rows.jsonl --out first.yaml",
        "evaluate run --json",
    )
    (tmp_path / "commands.py").write_text(ONE_AFTER_ANOTHER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "commands.py", json.dumps(commands)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=300,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    codes = json.loads((tmp_path / "codes.json").read_text(encoding="utf-8"))
    for words, code in zip(commands, codes, strict=True):
        assert code == 0 or words.startswith(("data", "compare")), (words, done.stderr)
    assert "antwört" in json.loads(done.stdout.splitlines()[-1])["metrics"]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["segments"] == ["antwört"]
    answers = [
        json.loads(line) for line in (tmp_path / "answers.jsonl").read_bytes().decode("utf-8").split("\n") if line
    ]
    assert sorted(row["id"] for row in answers) == sorted(row["id"] for row in rows)
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", "run", "--json"]) == 0
