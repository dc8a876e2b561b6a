"""All benchmarks in one run: `python -m benchmarks [--json] [--threads 2] [--only training,decoding]`.

In: nothing; all data are made here.
Out: one table with the hardware, every figure as a median, every ratio with its target and whether it is met; or one JSON object.
Invariant: what is compared was measured in turns in this process, on the same threads.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched

import torch

from benchmarks.measure import machine
from benchmarks.table import lines_of

PARTS = ("training", "decoding", "demo", "explain", "cache", "preprocess")
ON_REQUEST = ("calibration", "intervals", "verdicts")
"""Not speed, and long: measured only if it is named."""


def measure(part: str, repeats: int, record: Path | None = None) -> dict[str, Any]:
    """One part."""
    if part == "training":
        from benchmarks.training import measure_training

        return measure_training(repeats=repeats, steps=3)
    if part == "decoding":
        from benchmarks.decoding import measure_decoding

        return measure_decoding(repeats=repeats)
    if part == "demo":
        from benchmarks.demo_model import measure_demo

        return measure_demo(repeats=max(2, repeats - 2))
    if part == "explain":
        from benchmarks.explaining import measure_explain

        return measure_explain(repeats=repeats)
    if part == "cache":
        from benchmarks.caching import measure_caching

        return measure_caching(repeats=max(2, repeats - 2), threads=torch.get_num_threads())
    if part == "calibration":
        from benchmarks.calibration import measure_calibration

        return measure_calibration(num_tables=100 * repeats, record=record)
    if part == "verdicts":
        from benchmarks.verdicts import measure_verdicts

        return measure_verdicts(models=12, draws=40 * repeats)
    if part == "intervals":
        from benchmarks.intervals import measure_intervals

        return measure_intervals(trials=max(200, 1000 * (repeats - 1)))
    from benchmarks.preprocess import measure_pictures, measure_sound

    with tempfile.TemporaryDirectory() as folder:
        return {"log_mel": measure_sound(repeats), "pictures": measure_pictures(Path(folder), 2 * repeats)}


def quiet() -> None:
    """The other library's advice is not for this table."""
    warnings.filterwarnings("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def main(say: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each comparison")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join((*PARTS, *ON_REQUEST))}")
    parser.add_argument("--record", type=Path, help="calibration: the record whose samples are simulated from")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := [part for part in parts if part not in PARTS + ON_REQUEST]:
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(PARTS + ON_REQUEST)}")
    quiet()
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {"machine": machine()}
    for part in parts:
        print(f"measuring {part} ...", file=sys.stderr, flush=True)
        figures[part] = measure(part, options.repeats, options.record)
    if options.json:
        say(json.dumps(figures))
    else:
        for line in lines_of(figures):
            say(line)


if __name__ == "__main__":
    main()
