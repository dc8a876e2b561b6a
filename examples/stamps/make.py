"""Debian's `tuxpaint-stamps-default` becomes manifests: pictures, what they are called, and the recordings of it.

In: the Debian package (fetched by name with `apt-get download`, unpacked without installing), or the folder where its stamps
stand (`--from /usr/share/tuxpaint/stamps`).
Out: in `--out`: `en.jsonl` (picture → English text), `fr.jsonl` (picture and French recording → French text), `voices.jsonl`
(the same in all recorded languages, one row per recording), the media that they name, and `left_out.jsonl`.
Invariant: a stamp is in the same split in every manifest, and stamps that share a text (in English or in a recorded language,
but for case and punctuation) or the very same picture are in one split, so no text of the test was seen or heard in training.

    python examples/stamps/make.py
    python examples/stamps/make.py --from /usr/share/tuxpaint/stamps --svg
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.data.splits import SplitConfig, draw_splits
from plait.errors import UserError

PACKAGE = "tuxpaint-stamps-default"
INSTALLED = Path("usr/share/tuxpaint/stamps")
TEXT = "en"
"""The language of a .txt file's first line."""
SPOKEN = ("fr", "ro", "ru", "ca", "bg", "es", "be", "el", "da")
"""The languages with more than 300 recorded descriptions (of English ones there are 66)."""
ALONE = "fr"
"""The language that gets a manifest of its own: it has the most recordings."""
PICTURE_WIDTH = 256
"""Pixels across of a picture that is drawn from SVG."""

TRANSLATION = re.compile(r"^([\w@]+)\.utf8=(.*)$")


@dataclass(frozen=True)
class Stamp:
    """One stamp: its name (the path without ending), its picture, its texts and recordings by language."""

    name: str
    picture: Path
    texts: Mapping[str, str]
    recordings: Mapping[str, Path] = field(default_factory=dict)
    has_effect: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """What kind of picture it is, as far as its folder says so."""
        return {"picture": "cartoon" if "cartoon" in self.name.split("/")[:-1] else "other"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the manifests; exit code 0 = done, 2 = something the user can mend."""
    parser = argparse.ArgumentParser(description="Make manifests of the stamps of Tux Paint.")
    parser.add_argument("--from", dest="source", type=Path, help="a folder of stamps; default: the Debian package")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="default: %(default)s")
    parser.add_argument(
        "--svg", action="store_true", help="draw the SVG pictures with rsvg-convert, do not leave them out"
    )
    options = parser.parse_args(arguments)
    try:
        if options.source is None:
            with tempfile.TemporaryDirectory() as folder:
                make(unpacked_package(Path(folder)), options.out, draw_svg=options.svg)
        else:
            make(options.source, options.out, draw_svg=options.svg)
    except UserError as mistake:
        print(f"make.py: {mistake}", file=sys.stderr)
        return 2
    return 0


def make(source: Path, out: Path, *, draw_svg: bool = False) -> None:
    """Write the manifests and their media, and say what they hold."""
    if draw_svg and not shutil.which("rsvg-convert"):
        raise UserError(
            "rsvg-convert is missing", where="--svg", right="apt-get install librsvg2-bin, or leave --svg out."
        )
    stamps, left_out = read_stamps(source, take_svg=draw_svg)
    if not stamps:
        raise UserError("no stamps are here", where=str(source), right=f"Give the folder {INSTALLED} of {PACKAGE}.")
    split_of = dict(zip([s.name for s in stamps], splits(stamps), strict=True))
    out.mkdir(parents=True, exist_ok=True)
    put_media(stamps, source, out / "media")
    manifests = {
        TEXT: [row(s, TEXT, source, split_of[s.name]) for s in stamps],
        ALONE: [row(s, ALONE, source, split_of[s.name]) for s in stamps if is_spoken(s, ALONE)],
        "voices": [
            row(s, lang, source, split_of[s.name], several=True)
            for lang in SPOKEN
            for s in stamps
            if is_spoken(s, lang)
        ],
    }
    for name, rows in manifests.items():
        write_rows(out / f"{name}.jsonl", rows)
        texts = {fold(one["target"]) for one in rows}
        counts = Counter(one["split"] for one in rows)
        print(
            f"{out / name}.jsonl: {len(rows)} rows, {len(texts)} distinct texts, "
            + ", ".join(f"{split} {counts[split]}" for split in ("train", "tune", "test"))
        )
    write_rows(out / "left_out.jsonl", left_out)
    for reason, count in Counter(one["reason"] for one in left_out).items():
        print(f"left out: {count} × {reason}")
    print(f"not used: the sound effects of {sum(s.has_effect for s in stamps)} stamps (they are no descriptions)")


def unpacked_package(folder: Path) -> Path:
    """The stamps of the Debian package, fetched by its name and unpacked; nothing is installed."""
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            right = f"On a system that is not Debian's, unpack the package {PACKAGE} yourself and name the folder: --from DIR."
            raise UserError(f"{program} is missing", right=right)
    print(f"fetching {PACKAGE} (161 MB)", flush=True)
    run(["apt-get", "download", PACKAGE], folder, right="Is the list of packages there? sudo apt-get update")
    (package,) = folder.glob("*.deb")
    run(["dpkg-deb", "-x", package.name, "unpacked"], folder, right="Try again: the download may have been cut off.")
    return folder / "unpacked" / INSTALLED


def run(command: list[str], folder: Path, *, right: str) -> None:
    """A program's work, or what it said in one message."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"{command[0]} failed: {said}", right=right)


def read_stamps(source: Path, *, take_svg: bool) -> tuple[list[Stamp], list[dict[str, str]]]:
    """The stamps of a folder in the order of their names, and what was left out with the reason."""
    stamps: list[Stamp] = []
    left_out: list[dict[str, str]] = []
    for path in sorted(source.rglob("*.txt")):
        name = path.relative_to(source).with_suffix("").as_posix()
        picture, reason = find_picture(path, take_svg=take_svg)
        texts = read_texts(path)
        if picture is None:
            left_out.append({"stamp": name, "reason": reason})
        elif TEXT not in texts:
            left_out.append({"stamp": name, "reason": "no English text"})
        else:
            spoken = {language: sibling(path, f"_desc_{language}.ogg") for language in SPOKEN}
            recordings = {language: one for language, one in spoken.items() if one.is_file()}
            stamps.append(Stamp(name, picture, texts, recordings, sibling(path, ".ogg").is_file()))
    return stamps, left_out


def find_picture(path: Path, *, take_svg: bool) -> tuple[Path | None, str]:
    """The picture beside a text, PNG before SVG; else why there is none."""
    png, svg = sibling(path, ".png"), sibling(path, ".svg")
    if png.is_file():
        return png, ""
    if not svg.is_file():
        return None, "no picture"
    return (svg, "") if take_svg else (None, "only an SVG picture (--svg draws it)")


def sibling(path: Path, ending: str) -> Path:
    """The file beside a text whose name ends so (`with_suffix` would cut names that hold a dot)."""
    return path.with_name(path.name.removesuffix(".txt") + ending)


def read_texts(path: Path) -> dict[str, str]:
    """The texts of a stamp by language: the first line is English, `fr.utf8=…` French."""
    first, *others = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    found = {TEXT: first}
    found.update({match[1]: match[2] for match in map(TRANSLATION.match, others) if match})
    return {language: " ".join(text.split()) for language, text in found.items() if fold(text)}


def fold(text: str) -> str:
    """A text but for case, punctuation and spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def is_spoken(stamp: Stamp, language: str) -> bool:
    """Whether the stamp has both the recording and the text of a language."""
    return language in stamp.recordings and language in stamp.texts


def splits(stamps: Sequence[Stamp]) -> list[str]:
    """80 % train, 10 % tune, 10 % test; what shares a text or a picture stays together."""
    keys = [
        [
            *((language, fold(stamp.texts[language])) for language in (TEXT, *SPOKEN) if language in stamp.texts),
            ("picture", hashlib.sha256(stamp.picture.read_bytes()).hexdigest()),
        ]
        for stamp in stamps
    ]
    return draw_splits([stamp.name for stamp in stamps], keys, SplitConfig())


def put_media(stamps: Iterable[Stamp], source: Path, folder: Path) -> None:
    """The pictures and recordings in `folder`, under the names that the rows give them; SVG is drawn on the way."""
    for stamp in stamps:
        for path in (stamp.picture, *stamp.recordings.values()):
            there = folder / relative(path, source)
            if there.exists():
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".svg":
                command = [
                    "rsvg-convert",
                    "-w",
                    str(PICTURE_WIDTH),
                    "-a",
                    "-o",
                    str(there.resolve()),
                    str(path.resolve()),
                ]
                run(command, folder, right="Leave --svg out: the picture is left out then.")
            else:
                shutil.copyfile(path, there)


def relative(path: Path, source: Path) -> Path:
    """A file's place under `media`."""
    inner = path.relative_to(source)
    return inner.with_name(inner.name + ".png") if path.suffix == ".svg" else inner


def row(stamp: Stamp, language: str, source: Path, split: str, *, several: bool = False) -> dict[str, Any]:
    """A row of a manifest; `several`: the manifest holds the stamp in several languages."""
    recording = stamp.recordings.get(language)
    return {
        "id": f"{stamp.name}:{language}" if several else stamp.name,
        "split": split,
        "group": {"text": fold(stamp.texts[TEXT if several else language])},
        "tags": {**stamp.tags, **({"language": language} if several else {})},
        "image": f"media/{relative(stamp.picture, source).as_posix()}",
        **({"audio": f"media/{relative(recording, source).as_posix()}"} if recording else {}),
        "target": stamp.texts[language],
    }


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSONL."""
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
