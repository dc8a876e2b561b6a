"""The benchmarks' figures as a table for people.

In: what the parts measured.
Out: lines; beside every target whether it is met.
Invariant: nothing is computed here that is not in the JSON as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TRAINER_DEFAULT, TRAINER_TUNED, LOADER, LOG_MEL, PICTURES, DECODE = 2.5, 1.0, 0.10, 1.5, 1.8, 1.5
CACHE = 1.1
WIDEST = 1.4


def target(value: float, bound: float, *, at_most: bool = False) -> str:
    """Whether a target is met."""
    met = value <= bound if at_most else value >= bound
    sign = "≤" if at_most else "≥"
    shown = f"{bound:.0%}" if at_most else f"{bound:.1f}x"
    return f"[{'met' if met else 'NOT MET'}: target {sign} {shown}]"


def lines_of(figures: Mapping[str, Any]) -> Iterator[str]:
    """All parts that were measured."""
    yield from machine_lines(figures["machine"])
    for name, lines in {
        "training": training_lines,
        "decoding": decoding_lines,
        "demo": demo_lines,
        "explain": explain_lines,
        "cache": cache_lines,
        "preprocess": preprocess_lines,
        "calibration": calibration_lines,
        "intervals": interval_lines,
        "verdicts": verdict_lines,
    }.items():
        if name in figures:
            yield ""
            yield from lines(figures[name])


def machine_lines(machine: Mapping[str, Any]) -> Iterator[str]:
    """The hardware and the versions."""
    yield (
        f"{machine['processor']}, {machine['capability']}, {machine['cores']} cores, "
        f"{machine['threads']} threads, {machine['memory_gb']} GB"
    )
    yield ", ".join(f"{name} {version or 'not installed'}" for name, version in machine["versions"].items())


def training_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Training beside the Trainer."""
    peaks = ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in part["peak_gflops"].items())
    yield f"Training, ViT 6x256 + decoder 4x256, batch 32 ({part['gflop_per_step']:.0f} GFLOP a step; peak {peaks})"
    for name, row in part["rows"].items():
        yield (
            f"  {name:<32}{row['samples_per_second']:>8.1f} samples/s {row['share_of_peak']:>6.0%} of peak "
            f"{row['ratio_to_default']:>6.2f}x"
        )
    if part["bf16_left_out"]:
        yield "  bf16 left out: a product of 256³ is more than 4 times slower in it than in fp32 on this processor"
    yield f"  Plait chose by measuring: {', '.join(part['chosen'].values())}"
    ratio = part["ratio_to_default"]
    yield f"  to the default Trainer {ratio:.2f}x {target(ratio, TRAINER_DEFAULT)}"
    yield f"  to its best-tuned row ({part['tuned']}) {part['ratio_to_tuned']:.2f}x {target(part['ratio_to_tuned'], TRAINER_TUNED)}"
    yield f"  if a step were nothing but matrix products at their peak: {part['ceiling_to_default']:.2f}x"
    yield f"  first three losses in fp32: at most {part['largest_loss_difference']:.1e} apart"


def decoding_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Decoding beside `generate`."""
    yield "Decoding, the same network, 32 tokens, greedy, fp32, from pixels on"
    for name, row in part.items():
        mark = target(row["ratio_to_generate"], DECODE) if name == "batch 1" else ""
        same = "the same tokens" if row["same_tokens"] == 1 else "OTHER TOKENS"
        yield (
            f"  {name:<9}Plait {row['plait_tokens_per_second']:>7.0f} tokens/s, generate "
            f"{row['generate_tokens_per_second']:>7.0f}, with eager attention {row['generate_eager_tokens_per_second']:>7.0f}: "
            f"{row['ratio_to_generate']:.2f}x its better one, {same} {mark}"
        )


def demo_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """The demo model and the loader."""
    yield (
        f"Training, the demo's model, batch 64: {part['samples_per_second']:.0f} samples/s, "
        f"{part['share_of_peak']:.0%} of peak ({part['gflop_per_step']:.1f} GFLOP a step), {', '.join(part['chosen'].values())}"
    )
    padding = ", ".join(f"{name} {share:.1%}" for name, share in part["padding"].items())
    worst = max(part["padding"].values())
    yield f"  padding: {padding} {target(worst, LOADER, at_most=True)}"
    yield (
        f"  loader: {1e3 * part['batch_from_cache_seconds']:.1f} ms a batch from memory, {part['loader_to_step']:.1%} of a step of "
        f"{1e3 * part['step_seconds']:.0f} ms {target(part['loader_to_step'], LOADER, at_most=True)}"
    )
    yield (
        f"  the first epoch decodes files: {1e3 * part['batch_from_files_seconds']:.1f} ms a batch, "
        f"{part['loader_from_files_to_step']:.1%} of a step, once"
    )


def explain_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """The losses under every subset of the inputs."""
    yield (
        f"Explaining, the demo's model: losses of {part['samples']} samples under {part['subsets']} subsets of their inputs, "
        f"{part['batches']} batches"
    )
    yield (
        f"  encoders once {part['shared_seconds']:.2f} s, encoders for every subset {part['separate_seconds']:.2f} s: "
        f"{part['ratio']:.2f}x; bits at most {part['largest_difference_bits']:.1e} apart"
    )
    yield (
        f"  the encoders alone, once: {part['encoders_seconds']:.2f} s, {part['encoders_share']:.0%} of the shared way; evaluating "
        f"one subset, all inputs, {part['one_subset_seconds']:.2f} s"
    )


def cache_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Trainings over frozen encoders."""
    yield (
        f"Comparing {part['trainings']} fusions over the demo's frozen encoders, {part['steps']} steps each, "
        f"{part['samples']} samples: {part['comparison_seconds']:.1f} s from an empty cache"
    )
    yield (
        f"  to one extraction ({part['extraction_seconds']:.1f} s) and its trainings ({part['trainings_seconds']:.1f} s): "
        f"{part['cost_ratio']:.2f}x {target(part['cost_ratio'], CACHE, at_most=True)}; to the extraction and the steps alone "
        f"({part['loops_seconds']:.1f} s) {part['cost_ratio_to_loops']:.2f}x"
    )
    yield (
        f"  one by one without the cache {part['without_seconds']:.1f} s: {part['speed_up']:.2f}x as long; a step "
        f"{1e3 * part['step_seconds_without']:.0f} → {1e3 * part['step_seconds_with']:.0f} ms"
    )


def preprocess_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Sound and pictures."""
    sound, pictures = part["log_mel"], part["pictures"]
    yield f"Log-mel: {sound['times_real_time']:,.0f}x real time, clips of 2 s {sound['times_real_time_2_s_clips']:,.0f}x"
    if "ratio_to_whisper" in sound:
        ratio = sound["ratio_to_whisper"]
        yield (
            f"  Whisper's extractor {sound['whisper_times_real_time']:,.0f}x; ratio {ratio:.2f}x {target(ratio, LOG_MEL)}; "
            f"largest difference {sound['largest_difference']:.1e}"
        )
    yield f"Pictures: JPEG of 640 x 480 → 224 px, normalised: {pictures['per_second']:,.0f} a second"
    for name in ("hugging_face_pil", "hugging_face_torchvision"):
        if f"ratio_to_{name}" in pictures:
            ratio = pictures[f"ratio_to_{name}"]
            yield f"  {name} {pictures[f'{name}_per_second']:,.0f}; ratio {ratio:.2f}x {target(ratio, PICTURES)}"


def calibration_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """False alarms and power of a comparison, in per cent and points."""
    rows = part["rows"]
    yield (
        f"Calibration of a comparison, {rows[0]['num_tables']} tables a row, {part['samples']} samples, "
        f"{part['right']:.1%} right; in per cent and points (what single tables state)"
    )
    yield "  arms seeds groupings seed sd | false winners | any false difference | power at the detectable difference | it"
    for row in rows:
        effects = row["effects"]
        kind = " tails" if effects["tailed"] else f" one arm {effects['unequal']:g}x" if effects["unequal"] != 1 else ""
        kind += " and far behind" if row.get("behind") else ""
        shares = [
            f"{100 * v:5.1f} [{100 * low:4.1f}, {100 * high:4.1f}]"
            for v, low, high in (row[name] for name in ("false_winners", "false_differences", "power"))
        ]
        low, high = (100 * value for value in row["stated"])
        yield (
            f"  {row['num_arms']:>4} {row['num_seeds']:>5} {row['num_groupings']:>9} {effects['seed_sd']:>7g} | "
            f"{' | '.join(shares)} | {100 * row['detectable']:5.1f} ({low:.1f}–{high:.1f}){kind}"
            f"{'' if row['holds'] else '  OUTSIDE'}"
        )
    held = sum(row["holds"] for row in rows)
    yield f"  {held} of {len(rows)} rows hold"


def interval_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Coverage and width of nominal 95 % intervals: a line per kind of data, a column per number of groups."""
    rows = part["rows"]
    numbers = sorted({row["num_groups"] for row in rows})
    yield (
        f"Coverage of 95 % intervals in per cent, {part['trials']} trials a cell (before: the percentile bootstrap over groups), "
        "and the median width over an oracle's"
    )
    yield "  a star: measurably under 93.5 %; —: too few effective groups for an interval over them in most trials"
    kinds = dict.fromkeys((row["score"], row["spread"], row["sizes"], row["second"]) for row in rows)
    for kind in kinds:
        cells = {
            row["num_groups"]: row for row in rows if (row["score"], row["spread"], row["sizes"], row["second"]) == kind
        }
        score, spread, sizes, second = kind
        name = f"{score}, spread {spread:g}, {sizes}{', × pictures' if second else ''}"
        yield f"  {name:<52}{' | '.join(_coverage(cells.get(number), number) for number in numbers)}"
    for name, seconds in part.get("seconds", {}).items():
        yield f"  one figure over {name}: {seconds:.3f} s"
    counted = [row for row in rows if "coverage" in row]
    claimed = [row for row in counted if row["hold"]]
    low, wide = sum(row["below_target"] for row in claimed), sum(row["width"] > WIDEST for row in claimed)
    yield f"  {len(claimed) - low} of {len(claimed)} claimed cells hold 93.5 %; {wide} are wider than {WIDEST} times the oracle's"


def _coverage(row: Mapping[str, Any] | None, number: int) -> str:
    if row is None or "coverage" not in row:
        return f"{number:>3}: {'—':<19}"
    star = "*" if row["below_target"] else " "
    return f"{number:>3}: {100 * row['before']:3.0f} → {100 * row['coverage']:5.1f}{star} {row['width']:4.2f}"


def verdict_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """Per model its truth and what was said of its draws; then how many verdicts contradict."""
    yield (
        f"Verdicts of `plait explain` on few uneven groups, {part['models']} models × {part['draws']} draws, beside the truth of "
        f"each model ({part['rows'][0]['fresh']:,} fresh samples)"
    )
    for row in part["rows"]:
        yield f"  model {row['model']}: {row['trained_on']} samples, {row['steps']} steps, worth {row['worth']:.4f}"
        for modality, (value, low, high) in row["truth"].items():
            said = ", ".join(f"{status} {count}" for status, count in row["said"][modality].items())
            wrong = sum(row["wrong"][modality].values())
            yield f"    {modality:<6}{value:8.4f} [{low:.4f}, {high:.4f}] bits per token; {said}; {wrong} contradict"
    for modality, one in part["contradictions"].items():
        share = 100 * one["wrong"] / one["draws"]
        yield (
            f"  {modality}: {one['wrong']} of {one['draws']} verdicts contradict, {share:.2f} % "
            f"[{100 * one['low']:.2f}, {100 * one['high']:.2f}]"
        )
