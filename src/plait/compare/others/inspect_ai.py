"""Logs of inspect_ai: `.eval` (a zip archive of JSON texts) and `.json` (one text).

In: a log.
Out: one `Sheet`: the model is the arm, the epochs are its seeds, the scorers are the metrics.
Invariant: nothing is unpacked to the disk; of an archive only the members of known names are read, each to a bound; an answer's
letter becomes a number as inspect_ai's own `value_to_float` has it: C 1, P 0.5, I and N 0.

Members are packed by Zstandard in newer logs, which Python's own zipfile reads from 3.14 on: those are unpacked by pyarrow. An
evaluation that was killed has no `header.json`: what its journal holds by then is read.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from plait.compare.others.sheet import (
    MAX_BYTES,
    Format,
    Row,
    Sheet,
    check_groups_found,
    flattened,
    groups_of,
    mapping,
    name,
    parsed,
    plain_number,
    shown,
    target_of,
    told,
    whole,
)
from plait.errors import UserError
from plait.files import open_regular, read_bytes

ZSTANDARD = 93
"""Zstandard's number in archives (APPNOTE 4.4.5)."""

LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
WORDS = {"yes": 1.0, "no": 0.0}
REMOVED = "Key removed from summary (> 1k)"
"""What stands in a log's summaries for metadata that are too large."""

FREE_BYTES, MAX_RATIO = 2**26, 200
"""A member over 64 MiB may be at most so many times as large as it is packed; real ones are 10 to 30 times as large."""

JOURNAL = re.compile(r"_journal/summaries/(\d+)\.json")
SUMMARY_RIGHT = "Give the log as inspect_ai wrote it"


def fits(path: Path, head: bytes) -> bool:
    """Whether a file looks like a log of inspect_ai."""
    is_log = re.match(rb'(\xef\xbb\xbf)?\s*\{\s*"(version|status|eval)"\s*:', head) is not None
    return head[:4] == b"PK\x03\x04" or path.suffix == ".eval" or (path.suffix == ".json" and is_log)


def number(value: Any) -> float | None:
    """inspect_ai's `value_to_float`, without its zeros for what it does not know."""
    if isinstance(value, str):
        if value in LETTERS:
            return LETTERS[value]
        if value.lower() in WORDS:
            return WORDS[value.lower()]
    return plain_number(value)


def read(path: Path, group_by: Sequence[str]) -> list[Sheet]:
    """The log as a sheet."""
    with open_regular(path) as file:
        packed = file.read(4) == b"PK\x03\x04"
    if packed or path.suffix == ".eval":
        header, samples, notes = archive(path)
    else:
        header = mapping(parsed(read_bytes(path, max_bytes=MAX_BYTES), str(path)), str(path), "the log")
        samples, notes = header.get("samples"), []
        if samples is None:
            right = "Write the log with its samples (inspect eval --log-samples)"
            raise UserError("the log holds no samples", where=str(path), right=right)
    spec = mapping(header.get("eval"), str(path), "`eval` of the log")
    status = header.get("status", "started")
    if status != "success":
        notes.append(f"{path.name}: the evaluation did not finish ({told(status)}): what it had scored is compared")
    if header.get("invalidated"):
        notes.append(f"{path.name}: the log says of itself that it is invalidated")
    if not isinstance(samples, list):
        raise UserError(f"the samples must be a list, not {shown(samples)}", where=str(path), right=SUMMARY_RIGHT)
    rows = [row_of(mapping(one, str(path), "a sample"), group_by, str(path)) for one in samples]
    check_groups_found(rows, group_by, metadata_keys(samples), str(path))
    return [
        Sheet(
            path,
            name(spec.get("model"), str(path), "the model"),
            name(spec.get("task"), str(path), "the task"),
            rows,
            number,
            settings_of(spec, header),
            notes=tuple(notes),
            evaluation=str(spec.get("eval_id") or spec.get("run_id") or ""),
            preferred=headline(spec),
        )
    ]


def metadata_keys(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """What samples may be grouped by."""
    return sorted({str(key) for one in samples[:100] for key in (one.get("metadata") or {})})


def headline(spec: Mapping[str, Any]) -> str | None:
    """The score that the task names as the one that counts."""
    named = spec.get("headline_metric")
    score = named.get("score") or named.get("scorer") if isinstance(named, dict) else None
    return score if isinstance(score, str) else None


def row_of(sample: Mapping[str, Any], group_by: Sequence[str], where: str) -> Row:
    """One sample of one epoch."""
    id = name(sample.get("id"), where, "a sample's id")
    place = f"{where}, sample {id}"
    epoch = whole(sample.get("epoch", 1), place, "the epoch")
    metadata = mapping(sample.get("metadata") or {}, place, "`metadata`")
    groups = groups_of([metadata, {"metadata": metadata}], group_by, place)
    if gone := next((key for key, value in groups.items() if value == REMOVED), None):
        right = "inspect_ai leaves it out of its summaries: group by something shorter, or give the log as .json"
        raise UserError(f"the metadata {gone!r} are too large to group by", where=place, right=right)
    scores: dict[str, Any] = {}
    reasons = []
    for scorer, score in mapping(sample.get("scores") or {}, place, "`scores`").items():
        score = mapping(score, place, f"the score {scorer!r}")
        scores.update(flattened(score.get("value"), name(scorer, place, "a scorer's name")))
        if score.get("reason"):
            reasons.append(str(score["reason"]))
    return Row(id, epoch, scores, groups, target_of(sample.get("target")), why_of(sample, reasons))


def why_of(sample: Mapping[str, Any], reasons: Sequence[str]) -> str:
    """Why a sample has no score: its error, or what its scorer says."""
    error = sample.get("error")
    error = error.get("message") if isinstance(error, dict) else error
    return told(str(error)) if error else told(", ".join(dict.fromkeys(reasons)))


def settings_of(spec: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, str]:
    """What may make two evaluations of one model two arms, or two arms unequal; a seed does not."""
    plan = header.get("plan")
    steps = plan.get("steps") if isinstance(plan, dict) else None
    steps = steps if isinstance(steps, list) else []
    solvers = [str(step.get("solver")) for step in steps if isinstance(step, dict)]
    parts = {
        "task_version": spec.get("task_version"),
        "task": spec.get("task_args") or {},
        "solver": " → ".join(solvers) or spec.get("solver"),
        "solver_args": spec.get("solver_args") or {},
        "model": spec.get("model_args") or {},
        "config": spec.get("model_generate_config") or {},
    }
    values = {key: told(value) for key, value in flattened(parts) if value not in (None, {}, [], "")}
    return {key: value for key, value in values.items() if not key.endswith("seed")}


def archive(path: Path) -> tuple[Mapping[str, Any], list[Any], list[str]]:
    """The header of an archive, the summaries of its samples, and what is to be said of it."""
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as packed:
                members = {info.filename: info for info in packed.infolist()}
        except (zipfile.BadZipFile, OSError, ValueError, struct.error, OverflowError, NotImplementedError) as error:
            right = "It may be cut off, or its evaluation may still be running: copy it again when it has ended"
            raise UserError(f"is not a whole archive: {error}", where=str(path), right=right) from None

        def text(member: str) -> Any:
            return parsed(unpacked(file, members[member], str(path)), f"{path}, {member}")

        if "header.json" in members and "summaries.json" in members:
            header = mapping(text("header.json"), str(path), "header.json")
            return header, list_of(text("summaries.json"), path, "summaries.json"), []
        start = "_journal/start.json"
        if start not in members:
            right = "Give a log that inspect_ai wrote"
            raise UserError("is an archive, but not a log of inspect_ai", where=str(path), right=right)
        numbered = sorted((int(m[1]), key) for key in members if (m := JOURNAL.fullmatch(key)) and len(m[1]) < 10)
        samples = [one for _, key in numbered for one in list_of(text(key), path, key)]
        return mapping(text(start), str(path), start), latest(samples), []


def latest(samples: Sequence[Any]) -> list[Any]:
    """The journal's samples, of one that was run again the last."""
    keys = [(str(one.get("id")), str(one.get("epoch"))) if isinstance(one, dict) else None for one in samples]
    return list(dict(zip(keys, samples, strict=True)).values())


def list_of(value: Any, path: Path, member: str) -> list[Any]:
    """A list, or one message."""
    if not isinstance(value, list):
        raise UserError(f"{member} must be a list of samples, not {shown(value)}", where=str(path), right=SUMMARY_RIGHT)
    return value


def unpacked(file: IO[bytes], info: zipfile.ZipInfo, where: str) -> bytes:
    """A member's bytes: at most `MAX_BYTES`, and by their checksum those that were packed."""
    place = f"{where}, {info.filename}"
    most = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * info.compress_size))
    data = bytearray()
    crc = 0
    try:
        for chunk in chunks(file, info):
            data += chunk
            crc = zlib.crc32(chunk, crc)
            if len(data) > most:
                raise UserError(f"unpacks to more than {most:,} bytes", where=place, right="No real log does")
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, struct.error, zlib.error, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"cannot be unpacked: {error}", where=place, right="Copy the log again") from None
    if crc != info.CRC:
        raise UserError("is damaged: its checksum differs", where=place, right="Copy the log again")
    return bytes(data)


def chunks(file: IO[bytes], info: zipfile.ZipInfo, size: int = 2**20) -> Iterator[bytes]:
    """The bytes of a member, piece by piece."""
    if info.flag_bits & 1:
        raise ValueError("it is encrypted")
    file.seek(info.header_offset)
    head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise ValueError("its header is missing")
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    file.seek(info.header_offset + 30 + name_length + extra_length)
    packed = Part(file, info.compress_size)
    if info.compress_type == zipfile.ZIP_STORED:
        while chunk := packed.read(size):
            yield chunk
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        while not inflate.eof and (part := inflate.unconsumed_tail or packed.read(2**16)):
            yield inflate.decompress(part, size)
    elif info.compress_type == ZSTANDARD:
        import pyarrow

        with pyarrow.CompressedInputStream(pyarrow.PythonFile(packed, "r"), "zstd") as stream:
            while chunk := stream.read(size):
                yield chunk
    else:
        raise ValueError(f"it is packed by method {info.compress_type}, which is not known here")


class Part(io.RawIOBase):
    """The next so many bytes of a file."""

    def __init__(self, file: IO[bytes], num_bytes: int) -> None:
        self.file, self.left = file, num_bytes

    def readable(self) -> bool:
        """It is read only."""
        return True

    def read(self, size: int = -1) -> bytes:
        """As many bytes as are left, at most `size`."""
        data = self.file.read(min(self.left, size) if size >= 0 else self.left)
        self.left -= len(data)
        return data


FORMAT = Format("logs of inspect_ai (.eval, .json)", fits, read)
