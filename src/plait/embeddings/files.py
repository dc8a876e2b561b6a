"""Word vectors read from the formats in which they are published: word2vec's .bin and .txt, and GloVe's .txt (each also .gz).

In: a path and the words that are wanted.
Out: word → vector, only of wanted words; the file is streamed, never held.
Invariant: every line or row of the file is checked for its length, every vector taken for its numbers, and a fault is named
by file and line. A word may hold spaces: lines are read from the right.
"""

from __future__ import annotations

import gzip
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from itertools import islice
from pathlib import Path

import numpy as np

from plait.errors import UserError
from plait.files import hint_of, open_regular

Vectors = dict[str, np.ndarray]
CHUNK = 1 << 20
MAX_WORD_BYTES = 10_000
MAX_DIMENSION = 100_000
MAX_LINE_BYTES = MAX_WORD_BYTES + 32 * MAX_DIMENSION


def read_word2vec(path: str, wanted: Iterable[str]) -> Vectors:
    """Vectors of a word2vec file: binary where the name ends in `.bin`, else text; both begin with a line `words dimension`."""
    names = _by_bytes(wanted)
    with _open(path) as file:
        num_words, dimension = _header(path, file.readline(100))
        if Path(path).name.removesuffix(".gz").endswith(".bin"):
            return _binary(path, file, names, num_words=num_words, dimension=dimension)
        found: Vectors = {}
        number = 1
        for number, line in _lines(file, first=2):
            _take(found, names, line, dimension=dimension, where=f"{path}:{number}")
            if number - 1 > num_words:
                raise UserError(f"more than the {num_words} words of its first line", where=f"{path}:{number}")
        if number - 1 < num_words:
            what = f"the file ends after {number - 1} words; its first line says {num_words}"
            raise UserError(what, where=f"{path}:{number}", right="Fetch the file again.")
        return found


def read_glove(path: str, wanted: Iterable[str]) -> Vectors:
    """Vectors of a GloVe file: text without a header; the dimension is what most of the first 100 lines have."""
    names = _by_bytes(wanted)
    with _open(path) as file:
        head = list(islice(_lines(file, first=1), 100))
        if not head:
            raise UserError(
                "the file is empty", where=path, right="GloVe's format is `word number number …`, a word a line."
            )
        dimension = Counter(line.count(b" ") for _, line in head).most_common(1)[0][0]
        first = head[0][1].split(b" ")
        if len(first) == 2 and all(part.isdigit() for part in first) and dimension != 1:
            raise UserError(
                "the first line is a header of word2vec's", where=f"{path}:1", right="Use `kind: word2vec`."
            )
        found: Vectors = {}
        rest = _lines(file, first=head[-1][0] + 1)
        for lines in (head, rest):
            for number, line in lines:
                _take(found, names, line, dimension=dimension, where=f"{path}:{number}")
    return found


@contextmanager
def _open(path: str) -> Iterator[BufferedIOBase]:
    """The file, unpacked where its name says so, behind a byte order mark if there is one: that is no part of the first word.

    What is wrong with it as a file is said with its name.
    """
    file = Path(path).expanduser()
    if not file.exists():
        right = hint_of(file) or "Leave `path` out to train on the corpus."
        raise UserError("no such file of word vectors", where=path, right=right)
    try:
        with open_regular(file, where=path) as opened:
            if file.suffix == ".gz":
                with gzip.GzipFile(fileobj=opened) as unpacked:
                    yield _behind_mark(unpacked)
            else:
                yield _behind_mark(opened)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot be read: {why}", where=path, right="Fetch the file again.") from None


def _behind_mark(file: BufferedIOBase) -> BufferedIOBase:
    """The file, to be read from behind its byte order mark."""
    if file.read(len(BOM_UTF8)) != BOM_UTF8:
        file.seek(0)
    return file


def _by_bytes(wanted: Iterable[str]) -> dict[bytes, str]:
    return {word.encode(): word for word in wanted}


def _lines(file: BufferedIOBase, *, first: int) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends; only byte 10 ends a line (words may hold other separators); empty lines are left out."""
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=first):
        if len(line) == MAX_LINE_BYTES:
            raise UserError(
                f"line {number} has more than {MAX_LINE_BYTES:,} bytes", right="Is it a file of word vectors?"
            )
        stripped = line.rstrip(b" \r\n")
        if stripped:
            yield number, stripped


def _header(path: str, line: bytes) -> tuple[int, int]:
    parts = line.split()
    if len(parts) == 2 and all(part.isdigit() for part in parts):
        num_words, dimension = map(int, parts)
        if num_words > 0 and 0 < dimension <= MAX_DIMENSION:
            return num_words, dimension
    right = "word2vec's files begin with `words dimension`; a file without that line is GloVe's: `kind: glove`."
    raise UserError(f"no word2vec header: {_shown(line)}", where=f"{path}:1", right=right)


def _take(found: Vectors, names: dict[bytes, str], line: bytes, *, dimension: int, where: str) -> None:
    parts = line.rsplit(b" ", dimension)
    if len(parts) != dimension + 1:
        what = f"a word and {len(parts) - 1} numbers where {dimension} belong: {_shown(line)}"
        raise UserError(
            what, where=where, right="Fetch the file again, or mend the line. A binary file's name ends in .bin."
        )
    name = names.get(parts[0])
    if name is None or name in found:
        return
    try:
        vector = np.array([float(part) for part in parts[1:]], dtype=np.float32)
    except ValueError as error:
        raise UserError(f"not a number among the {dimension} of {name!r}", where=where) from error
    _keep(found, name, vector, where)


def _keep(found: Vectors, name: str, vector: np.ndarray, where: str) -> None:
    if not np.isfinite(vector).all():
        raise UserError(f"the vector of {name!r} has numbers that are not finite", where=where)
    found.setdefault(name, vector)


def _binary(path: str, file: BufferedIOBase, names: dict[bytes, str], *, num_words: int, dimension: int) -> Vectors:
    """Rows of a word, a space and `dimension` little-endian floats; some writers end a row with a line feed, some do not."""
    found: Vectors = {}
    size = 4 * dimension
    buffer, place = b"", 0
    for row in range(1, num_words + 1):
        if len(buffer) - place < MAX_WORD_BYTES + size + 2:
            buffer, place = buffer[place:] + file.read(max(CHUNK, MAX_WORD_BYTES + size)), 0
        space = buffer.find(b" ", place, place + MAX_WORD_BYTES)
        where = f"{path}:word {row}"
        if space < 0 or len(buffer) < space + 1 + size:
            what = f"the file ends or is damaged at word {row} of {num_words}"
            raise UserError(what, where=where, right="Fetch the file again.")
        name = names.get(buffer[place:space].lstrip(b"\n"))
        if name is not None:
            _keep(found, name, np.frombuffer(buffer, "<f4", dimension, space + 1).astype(np.float32), where)
        place = space + 1 + size
    if (buffer[place:] + file.read(1)).strip():
        what = f"more bytes than {num_words} words of {dimension} numbers need"
        raise UserError(what, where=path, right="Is the file word2vec's binary format?")
    return found


def _shown(line: bytes) -> str:
    text = line[:40].decode(errors="replace").strip()
    return repr(text + ("…" if len(line) > 40 else ""))
