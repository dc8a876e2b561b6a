"""What is shown, what is heard, what is written down; and the keys that may change."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest

from plait.errors import UserError
from plait.train import progress as progress_module
from plait.train.lock import locked
from plait.train.metrics import MetricsLog, flat, read_metrics, tune_figures, tune_segments
from plait.train.progress import Bar, Lines, Quiet, clock, progress_for
from plait.train.resume import leaves, may_change, put
from plait.train.signals import listening


@pytest.fixture
def time_goes_on(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    found = Clock()
    monkeypatch.setattr(progress_module, "time", found)
    return found


def test_lines_come_now_and_then(time_goes_on):
    stream = io.StringIO()
    lines = Lines(stream, every=5.0)
    lines.start(100, 200)
    for step in range(101, 201):
        time_goes_on.now += 1
        lines.update(step, bits=2.0, num_samples=64)
    shown = stream.getvalue().splitlines()
    assert shown[0] == "step 101/200  loss 2.000 bits  64 samples/s  1 min 39 s left"
    assert shown[-1] == "step 200/200  loss 2.000 bits  64 samples/s  0.0 s left"
    assert 10 <= len(shown) <= 21


def test_a_bar_shows_its_figures(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    bar = Bar(terminal)
    bar.start(0, 10)
    bar.update(4, bits=1.5, num_samples=8)
    bar.say("step 4: [held-out] loss")
    bar.finish()
    assert "4/10 steps" in terminal.getvalue()
    assert "loss 1.500 bits" in terminal.getvalue()
    assert "step 4: [held-out] loss" in terminal.getvalue()


def test_a_bar_needs_a_terminal(monkeypatch):
    assert isinstance(progress_for(quiet=True), Quiet)
    assert isinstance(progress_for(), Lines)
    assert progress_for(to_stderr=False).stream is sys.stdout
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(progress_for(), Bar)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_clock(seconds, text):
    assert clock(float(seconds)) == text


def test_the_second_interrupt_leaves_at_once():
    before = signal.getsignal(signal.SIGINT)
    with listening() as listener:
        os.kill(os.getpid(), signal.SIGINT)
        assert listener.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    log = MetricsLog(tmp_path, num_bytes=0, step=0, tensorboard=False)
    log.write({"step": 1, "bits": 2.5})
    saved = log.sync()
    log.write({"step": 2, "bits": 2.4})
    log.close()
    log = MetricsLog(tmp_path, num_bytes=saved, step=1, tensorboard=False)
    log.write({"step": 2, "bits": 0.1})
    log.close()
    assert read_metrics(tmp_path) == [{"step": 1, "bits": 2.5}, {"step": 2, "bits": 0.1}]


def test_a_half_written_last_line_is_cut_off(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st')
    log = MetricsLog(tmp_path, num_bytes=12, step=1, tensorboard=False)
    log.write({"step": 2})
    log.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


def test_half_a_last_line_is_not_there_yet(tmp_path):
    """Previously a report of a run that was killed while it wrote a line ended with a traceback."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "name": "a\xc2\x85b"}\n{"step": 2, "bi')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]


@pytest.mark.parametrize("line", [b'{"st', b"3", b"{}", b'{"step": "x"}', b"\xff"])
def test_a_damaged_line_is_one_message(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl.*Copy the run again"):
        read_metrics(tmp_path)


def test_a_log_that_is_too_short_is_said_and_goes_on_after_its_last_whole_line(tmp_path):
    said = []
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st')
    log = MetricsLog(tmp_path, num_bytes=900, step=9, tensorboard=False, say=said.append)
    log.write({"step": 10})
    log.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 10]
    assert len(said) == 1
    assert "has 16 bytes, the checkpoint of step 9 says 900" in said[0]


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'plait\[track\]'"):
        MetricsLog(tmp_path, num_bytes=0, step=0, tensorboard=True)


def test_metrics_on_a_full_disk_are_one_message(tmp_path):
    resource = pytest.importorskip("resource")
    log = MetricsLog(tmp_path, num_bytes=0, step=0, tensorboard=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write metrics.jsonl: .*is whole. Make room"):
            [log.write({"step": step}) for step in range(9)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.close()


def test_flat_figures():
    line = {"step": 3, "bits": 1, "tune": {"bits": 2.0, "answer": 3.0}, "best": True, "name": "x"}
    assert dict(flat(line)) == {"bits": 1.0, "tune/bits": 2.0, "tune/answer": 3.0, "best": 1.0}


def test_a_lock_goes_with_its_block(tmp_path):
    pytest.importorskip("fcntl")
    with locked(tmp_path), pytest.raises(UserError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_keys():
    tree = {"a": {"b": 1, "c": {}}, "d": [1, 2]}
    assert dict(leaves(tree)) == {"a.b": 1, "a.c": {}, "d": [1, 2]}
    put(tree, ["a", "c", "e"], 5)
    assert tree["a"]["c"] == {"e": 5}
    assert may_change("train.steps")
    assert may_change("evaluate.metrics.answer")
    assert not may_change("train.batch_size")
    assert not may_change("train.steps_per_epoch")


def test_a_segment_called_bits_does_not_hide_the_loss_of_all():
    """Previously its loss was written over the one of all segments, and the curve and the best step were its own."""
    assert tune_figures(2.0, {"answer": 3.0}) == {"bits": 2.0, "answer": 3.0}
    for name in ("bits", "segments", "format"):
        tune = tune_figures(2.0, {name: 3.0, "answer": 1.0})
        assert tune["bits"] == 2.0
        assert tune_segments(tune) == {name: 3.0, "answer": 1.0}
        shown = {"tune/bits": 2.0, f"tune/segments/{name}": 3.0, "tune/segments/answer": 1.0}
        assert dict(flat({"step": 4, "tune": tune})) == shown
    assert tune_segments({"bits": 2.0, "segments": 3.0, "answer": 1.0}) == {"segments": 3.0, "answer": 1.0}  # as before


def test_only_a_line_feed_ends_a_line_of_the_metrics(tmp_path):
    """Previously a figure whose name holds U+2028 made the file unreadable."""
    log = MetricsLog(tmp_path, num_bytes=0, step=0, tensorboard=False)
    log.write({"step": 1, "evaluation": {"a\u2028b\u0085c": 1.0}})
    log.write({"step": 2, "bits": 1.0})
    log.close()
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]
