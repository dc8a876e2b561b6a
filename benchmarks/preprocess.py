"""How fast sound becomes log-mel features and pictures become normalised pixels, beside Hugging Face's ways of it.

In: nothing; it makes noise-like speech of 30 s and photograph-like JPEGs in a temporary folder.
Out: medians and ratios of one run, as lines or as one JSON object (`--json`); without `transformers` only our own.
Invariant: each pair of figures is measured in turns, on the same files, on as many threads as `--threads` says, and
does the same work; how far the results are apart is printed beside the ratio.

    python benchmarks/preprocess.py [--repeats 15] [--threads 1] [--json]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from plait.modalities.audio.prepare import SAMPLE_RATE, AudioConfig, log_mels
from plait.modalities.image.prepare import ImageConfig, load_image, normalise_images

CLIPS, SECONDS, PICTURES, SIZE = 8, 30, 32, 224
HAVE_TRANSFORMERS = importlib.util.find_spec("transformers") is not None


def medians(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each way; the ways take turns, so that a busy machine is busy for all of them."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 2):  # two to warm up
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_sound(repeats: int) -> dict[str, float]:
    """Log-mel features of whole clips, and of as many seconds in clips of 2 s."""
    generator = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(SECONDS * SAMPLE_RATE, generator=generator) for _ in range(CLIPS)]
    short = [part for wave in waves for part in wave.split(2 * SAMPLE_RATE)]
    config = AudioConfig()
    ways: dict[str, Callable[[], Any]] = {
        "plait": lambda: log_mels(waves, config),
        "short": lambda: log_mels(short, config),
    }
    figures: dict[str, float] = {}
    if HAVE_TRANSFORMERS:
        from transformers import WhisperFeatureExtractor  # pyright: ignore[reportMissingImports]

        whisper = WhisperFeatureExtractor()
        arrays = [wave.numpy() for wave in waves]

        def extract() -> Any:
            return whisper(arrays, sampling_rate=SAMPLE_RATE, return_tensors="pt")

        ways["whisper"] = extract
        theirs = extract().input_features.transpose(1, 2)
        figures["largest_difference"] = float((theirs - torch.stack(log_mels(waves, config))).abs().max())
    seconds = medians(ways, repeats)
    total = CLIPS * SECONDS
    figures |= {"times_real_time": total / seconds["plait"], "times_real_time_2_s_clips": total / seconds["short"]}
    if HAVE_TRANSFORMERS:
        figures |= {
            "whisper_times_real_time": total / seconds["whisper"],
            "ratio_to_whisper": seconds["whisper"] / seconds["plait"],
        }
    return figures


def write_pictures(folder: Path) -> list[Path]:
    """JPEGs of 640 × 480 with detail at every scale."""
    generator = np.random.default_rng(0)
    paths: list[Path] = []
    for number in range(PICTURES):
        values = np.zeros((480, 640, 3))
        for scale in (8, 32, 128):
            coarse = generator.integers(0, 256, (3 * scale // 4, scale, 3), dtype=np.uint8)
            values += np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)) / 3
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(values.astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def measure_pictures(folder: Path, repeats: int) -> dict[str, float]:
    """From files to one normalised batch of 224 × 224, and of the default size."""
    paths = write_pictures(folder)
    large, small = ImageConfig(size=SIZE), ImageConfig()

    def ours(config: ImageConfig) -> torch.Tensor:
        return normalise_images(torch.stack([load_image(path, config) for path in paths]), config)

    ways: dict[str, Callable[[], Any]] = {"plait": lambda: ours(large), "small": lambda: ours(small)}
    figures: dict[str, float] = {}
    processors = hugging_face_processors(large) if HAVE_TRANSFORMERS else {}
    for name, processor in processors.items():

        def theirs(processor: Any = processor) -> torch.Tensor:
            pictures = [Image.open(path).convert("RGB") for path in paths]
            return processor(pictures, return_tensors="pt").pixel_values

        ways[name] = theirs
        figures[f"mean_difference_to_{name}"] = float((theirs() - ours(large)).abs().mean())
    seconds = medians(ways, repeats)
    figures |= {
        "per_second": PICTURES / seconds["plait"],
        f"per_second_{small.size}_px": PICTURES / seconds["small"],
    }
    for name in processors:
        figures[f"{name}_per_second"] = PICTURES / seconds[name]
        figures[f"ratio_to_{name}"] = seconds[name] / seconds["plait"]
    return figures


def hugging_face_processors(config: ImageConfig) -> dict[str, Any]:
    """The processors that can be built here: the one on Pillow, and the one on torchvision where that is installed."""
    import transformers  # pyright: ignore[reportMissingImports]

    options = {
        "size": {"height": config.size, "width": config.size},
        "resample": Image.Resampling.BILINEAR,
        "image_mean": list(config.mean),
        "image_std": list(config.std),
    }
    names = {"hugging_face_pil": "ViTImageProcessorPil"}
    if importlib.util.find_spec("torchvision"):
        names["hugging_face_torchvision"] = "ViTImageProcessor"
    return {key: getattr(transformers, name)(**options) for key, name in names.items() if hasattr(transformers, name)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "log_mel": measure_sound(options.repeats),
            "pictures": measure_pictures(Path(folder), options.repeats),
        }
    if options.json:
        print(json.dumps(figures))
        return
    for group, values in figures.items():
        for name, value in values.items():
            print(f"{group}.{name:<36} {value:>12.4g}")


if __name__ == "__main__":
    main()
