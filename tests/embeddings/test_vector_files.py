"""Files of word vectors: written longhand here in each format, read back; every damage is named by file and line."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.embeddings.files import read_glove, read_word2vec
from plait.errors import UserError

WORDS = ["the", "cat", "Straße", "猫", "new york", ". . .", "a\u0085b"]
DIMENSION = 3
VECTORS = {word: np.arange(DIMENSION, dtype=np.float32) + 0.25 * i - 1 for i, word in enumerate(WORDS)}


def text_lines(end: str = "\n") -> bytes:
    return "".join(f"{word} {' '.join(map(str, vector))}{end}" for word, vector in VECTORS.items()).encode()


def binary_rows(end: bytes) -> bytes:
    rows = [word.replace(" ", "_").encode() + b" " + vector.tobytes() + end for word, vector in VECTORS.items()]
    return f"{len(rows)} {DIMENSION}\n".encode() + b"".join(rows)


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for word, vector in expected.items():
        assert np.array_equal(found[word], vector), word


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_glove_text(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "g.txt", text_lines(end))
    assert_equal(read_glove(path, [*WORDS, "absent"]), VECTORS)
    assert_equal(read_glove(path, ["new york"]), {"new york": VECTORS["new york"]})


@pytest.mark.parametrize("end", ["\n", " \n"])
def test_word2vec_text(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "w.txt", f"{len(WORDS)} {DIMENSION}\n".encode() + text_lines(end))
    assert_equal(read_word2vec(path, WORDS), VECTORS)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_word2vec_binary_of_both_writers(tmp_path: Path, end: bytes) -> None:
    """The C tool ends each row with a line feed, gensim does not."""
    path = write(tmp_path / "w.bin", binary_rows(end))
    joined = {word.replace(" ", "_"): vector for word, vector in VECTORS.items()}
    assert_equal(read_word2vec(path, [*joined, "absent"]), joined)


def test_compressed(tmp_path: Path) -> None:
    glove, word2vec = gzip.compress(text_lines()), gzip.compress(binary_rows(b""))
    assert_equal(read_glove(write(tmp_path / "g.txt.gz", glove), WORDS), VECTORS)
    assert "cat" in read_word2vec(write(tmp_path / "w.bin.gz", word2vec), ["cat"])


def test_gensims_own_files(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(5)
    vectors.add_vectors(["a", "bé", "c"], np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32))
    for name, binary in [("w.bin", True), ("w.txt", False)]:
        vectors.save_word2vec_format(str(tmp_path / name), binary=binary)
        found = read_word2vec(str(tmp_path / name), ["a", "bé", "c"])
        assert_equal(found, {word: vectors[word] for word in ("a", "bé", "c")})


def test_a_binary_larger_than_a_chunk(tmp_path: Path) -> None:
    """Rows that cross the border of what is read at once."""
    words = [f"word{i}" for i in range(3000)]
    table = np.random.default_rng(0).normal(size=(3000, 150)).astype("<f4")
    content = b"3000 150\n" + b"".join(
        w.encode() + b" " + v.tobytes() + b"\n" for w, v in zip(words, table, strict=True)
    )
    found = read_word2vec(write(tmp_path / "w.bin", content), words[::7])
    assert_equal(found, dict(zip(words[::7], table[::7], strict=True)))


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
        .map(str.strip)
        .filter(lambda word: word and not word.endswith(" ")),
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_written_is_read(vectors: dict[str, list[float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # a first word without a space, as in every published file, so that the dimension is plain to see
        lines = ["the 0 0"] * len(vectors) + [
            f"{word} {a!r} {b!r}" for word, (a, b) in vectors.items() if word != "the"
        ]
        path = write(Path(folder) / "g.txt", "\n".join(lines).encode())
        found = read_glove(path, vectors)
    for word, vector in vectors.items():
        if word != "the":
            assert found[word].tolist() == vector


def test_the_first_of_a_repeated_word_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "g.txt", b"cat 1 2\ncat 3 4\ndog 5 6\n")
    assert read_glove(path, ["cat"])["cat"].tolist() == [1, 2]


BAD = {
    "glove-short-line": (
        "g.txt",
        b"cat 1 2 3\ndog 1 2\neel 1 2 3\n",
        r"g.txt:2: a word and 2 numbers where 3 belong: 'dog 1 2'",
    ),
    "glove-not-a-number": (
        "g.txt",
        b"cat 1 2 3\ndog 1 two 3\neel 1 2 3\n",
        r"g.txt:2: not a number among the 3 of 'dog'",
    ),
    "glove-nan": (
        "g.txt",
        b"cat 1 2 3\ndog 1 nan 3\n",
        r"g.txt:2: the vector of 'dog' has numbers that are not finite",
    ),
    "glove-empty": ("g.txt", b"\n\n", r"g.txt: the file is empty"),
    "glove-is-word2vec": (
        "g.txt",
        b"2 3\ncat 1 2 3\ndog 1 2 3\n",
        r"g.txt:1: .*header of word2vec's. Use `kind: word2vec`",
    ),
    "word2vec-is-glove": ("w.txt", b"cat 1 2 3\n", r"w.txt:1: no word2vec header: 'cat 1 2 3'.*kind: glove"),
    "word2vec-empty": ("w.txt", b"", r"w.txt:1: no word2vec header"),
    "word2vec-cut": (
        "w.txt",
        b"3 2\ncat 1 2\ndog 1 2\n",
        r"w.txt:3: the file ends after 2 words; its first line says 3",
    ),
    "word2vec-long": ("w.txt", b"1 2\ncat 1 2\ndog 1 2\n", r"w.txt:3: more than the 1 words of its first line"),
    "word2vec-short-line": ("w.txt", b"2 2\ncat 1 2\ndog 1\n", r"w.txt:3: a word and 1 numbers where 2 belong"),
    "binary-cut": ("w.bin", binary_rows(b"")[:-2], r"w.bin:word 7: the file ends or is damaged at word 7 of 7"),
    "binary-long": ("w.bin", binary_rows(b"") + b"xx", r"w.bin: more bytes than 7 words of 3 numbers need"),
    "binary-damaged": ("w.bin", b"2 3\n" + b"x" * 50_000, r"w.bin:word 1: the file ends or is damaged"),
    "binary-header": ("w.bin", b"\x80\x02garbage\n", r"w.bin:1: no word2vec header"),
    "binary-nan": ("w.bin", b"1 1\ncat " + np.float32("nan").tobytes(), r"w.bin:word 1: the vector of 'cat'"),
}


@pytest.mark.parametrize("name", BAD)
def test_damage_is_named(name: str, tmp_path: Path) -> None:
    file, content, message = BAD[name]
    read = read_glove if file == "g.txt" else read_word2vec
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / file, content), ["cat", "dog", "eel"])


def test_missing_file() -> None:
    for read in (read_glove, read_word2vec):
        with pytest.raises(UserError, match=r"nowhere.txt: no such file of word vectors"):
            read("nowhere.txt", ["a"])


def test_only_ordinary_files_are_read_and_no_line_without_end(tmp_path: Path) -> None:
    """Previously a compressed file of zeros was one line in memory, and damaged compression a traceback."""
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"the 0.1 0.2\n" * 1000)[:-20])
    (tmp_path / "no.txt.gz").write_bytes(b"this is not compressed")
    (tmp_path / "long.txt.gz").write_bytes(gzip.compress(b"the 0.1 0.2\n" + bytes(50_000_000)))
    for name, what in (
        ("pipe.txt", "is not an ordinary file"),
        ("zero.txt", "is not an ordinary file"),
        ("cut.txt.gz", "cannot be read: Compressed file ended"),
        ("no.txt.gz", "cannot be read: Not a gzipped file"),
        ("long.txt.gz", "line 2 has more than 3,210,000 bytes"),
        ("~", "no such file of word vectors"),
    ):
        for read in (read_glove, read_word2vec) if "line" not in what else (read_glove,):
            path = str(tmp_path / name)
            if read is read_word2vec and name == "cut.txt.gz":
                (tmp_path / name).write_bytes(gzip.compress(b"1000 2\n" + b"the 0.1 0.2\n" * 1000)[:-20])
            with pytest.raises(UserError, match=what):
                read(path, ["the"])


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path, ending: str) -> None:
    """Previously GloVe's first word behind one had no vector, and a word2vec file was refused for its header."""
    bom = b"\xef\xbb\xbf"
    glove, text, binary = (tmp_path / f"{name}{ending}" for name in ("g.txt", "w.txt", "w.bin"))
    row = np.array([1, 2, 3], dtype="<f4").tobytes()
    write = gzip.compress if ending else bytes
    glove.write_bytes(write(bom + b"the 1 2 3\ncat 4 5 6\n"))
    text.write_bytes(write(bom + b"2 3\nthe 1 2 3\ncat 4 5 6\n"))
    binary.write_bytes(write(bom + b"1 3\nthe " + row))
    assert sorted(read_glove(str(glove), ["the", "cat"])) == ["cat", "the"]
    assert sorted(read_word2vec(str(text), ["the", "cat"])) == ["cat", "the"]
    assert read_word2vec(str(binary), ["the"])["the"].tolist() == [1, 2, 3]
    glove.write_bytes(write(b"the 1 2 3\n" + bom + b"cat 4 5 6\n"))
    assert sorted(read_glove(str(glove), ["the", "cat"])) == ["the"]  # only the head of a file has one
