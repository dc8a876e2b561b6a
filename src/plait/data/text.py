"""Text becomes ids and ids become text: word, character and byte-level BPE tokenizers, and any `tokenizer.json`.

In: a text, or ids.
Out: `normalise(text)`, `Tokenizer` (train, load, save, encode, decode).
Invariant: what stands in a text never becomes a special token, whatever its spelling; the same texts in any order give
the same vocabulary, in every process.

The special tokens are `<pad>`, `<unk>`, `<end>` and one `<segment>` for each segment of the target. In a tokenizer
trained here they have the first ids, in that order; in a loaded one they follow its own vocabulary. Ids are looked up,
never assumed.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import tokenizers
from pydantic import Field
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from plait.choices import Config, one_of
from plait.data.words import join_words, split_chinese, word_pattern
from plait.errors import UserError
from plait.files import read_bytes

PAD, UNKNOWN, END = "<pad>", "<unk>", "<end>"
BOM = "\ufeff"
"""The byte order mark: the head of a file, no part of a text."""

Form = Literal["nfc", "nfkc", "none"]
"""What a text goes through first. `nfc`: what looks the same is the same (é in one or two characters); `nfkc`: also what has a
plainer spelling is spelt plainly (Ａ is A, but 10² is 102); `none`: nothing. A byte order mark is dropped but by `nfkc`, which is
what Plait did before it had the others."""


MAX_TOKENIZER_BYTES = 2**28
"""A tokenizer.json is smaller."""


class WordConfig(Config):
    """One token per word or punctuation mark; `language: zh` lets jieba find the words of Chinese (other languages
    without spaces, like Thai, are better served by `bpe`)."""

    kind: Literal["word"] = "word"
    lowercase: bool = True
    normalisation: Form = Field(
        default="nfc", description="nfc, none, or nfkc, which also writes 10² as 102 and ½ as 1⁄2."
    )
    min_count: int = Field(default=1, ge=1, description="Words seen less often are unknown.")
    max_size: int = Field(
        default=30_000, ge=8, description="Tokens of the vocabulary at most, the special ones included."
    )
    language: Literal["any", "zh"] = "any"


class CharacterConfig(Config):
    """One token per Unicode character."""

    kind: Literal["character"] = "character"
    lowercase: bool = False
    normalisation: Form = Field(
        default="nfc", description="nfc, none, or nfkc, which also writes 10² as 102 and ½ as 1⁄2."
    )


class BPEConfig(Config):
    """Byte-level byte-pair encoding, trained here: no text is ever unknown."""

    kind: Literal["bpe"] = "bpe"
    size: int = Field(default=4000, ge=256, description="Tokens of the vocabulary, the special ones included.")
    normalisation: Form = Field(
        default="nfc", description="nfc, none, or nfkc, which also writes 10² as 102 and ½ as 1⁄2."
    )


class TokenizerFileConfig(Config):
    """A tokenizer in the format of Hugging Face `tokenizers`."""

    kind: Literal["file"] = "file"
    path: str = Field(description="Path to a tokenizer.json.")
    normalisation: Form = Field(default="none", description="Before what the file itself does: none, nfc or nfkc.")


TokenizerConfig = one_of("tokenizer", WordConfig, CharacterConfig, BPEConfig, TokenizerFileConfig)
AnyTokenizerConfig = WordConfig | CharacterConfig | BPEConfig | TokenizerFileConfig


def normalise(text: str, form: Form = "nfc") -> str:
    """The text in a form (`Form`), every run of white space one space, none at the ends.

    NUL and half surrogates are the user's mistake.
    """
    if "\0" in text:
        raise UserError(f"text with a NUL character at position {text.index(chr(0))}", right="Remove it.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"text with half a surrogate pair at position {error.start}", right="Remove it.") from None
        if form != "nfkc":
            text = text.replace(BOM, "")
        if form != "none":
            text = unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)
    return " ".join(text.split())


def form_of(config: Config) -> Form:
    """The form of a tokenizer's texts; a part of one's own that knows no such key has the one that there was before it."""
    known = isinstance(config, WordConfig | CharacterConfig | BPEConfig | TokenizerFileConfig)
    return config.normalisation if known else "nfkc"


class Tokenizer:
    """Text ↔ ids. Make one with `Tokenizer.train` or `Tokenizer.load`."""

    def __init__(
        self, backend: tokenizers.Tokenizer, *, segments: Sequence[str], chinese: bool, form: Form = "nfc"
    ) -> None:
        self.segments = tuple(segments)
        self._chinese = chinese
        self._form: Form = form
        self._backend = backend
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True  # a special token that stands in a text is read as ordinary text
        ids = backend.get_vocab(with_added_tokens=True)
        self.size = 1 + max(ids.values())
        self.pad_id, self.end_id = ids[PAD], ids[END]
        self.unknown_id = ids[_own_unknown(backend) or UNKNOWN]
        self._segment_ids = {segment: ids[f"<{segment}>"] for segment in self.segments}
        self._special_ids = frozenset(ids[token] for token in special_tokens(segments)) | {self.unknown_id}
        self._joins_words = backend.decoder is None

    @classmethod
    def train(cls, config: AnyTokenizerConfig, texts: Iterable[str], segments: Sequence[str]) -> Tokenizer:
        """A tokenizer for these texts (of `file`: the file's own vocabulary, the texts are not read)."""
        special = special_tokens(segments)
        if isinstance(config, TokenizerFileConfig):
            return cls.load(Path(config.path), config, segments)
        texts = _non_empty(texts, form_of(config))
        if isinstance(config, BPEConfig):
            backend = _train_bpe(config, texts, special)
        elif isinstance(config, WordConfig):
            backend = _train_words(config, texts, special)
        else:
            backend = _train_characters(config, texts, special)
        backend.add_special_tokens(special)
        return cls(backend, segments=segments, chinese=_is_chinese(config), form=form_of(config))

    @classmethod
    def load(cls, path: Path | str, config: AnyTokenizerConfig, segments: Sequence[str]) -> Tokenizer:
        """The tokenizer of a `tokenizer.json`; special tokens that it lacks are added behind its own vocabulary."""
        special = special_tokens(segments)
        try:
            backend = tokenizers.Tokenizer.from_str(read_bytes(path, max_bytes=MAX_TOKENIZER_BYTES).decode("utf-8-sig"))
        except UserError as error:
            raise UserError(f"cannot read the tokenizer: {error.what}", where=str(path), right=error.right) from None
        except Exception as error:  # `tokenizers` raises bare Exceptions
            raise UserError(
                f"not a tokenizer: {error}", where=str(path), right="A tokenizer.json of Hugging Face tokenizers."
            ) from None
        if isinstance(config, TokenizerFileConfig):
            backend.add_special_tokens(special)
        missing = [token for token in special if backend.token_to_id(token) is None]
        if missing:
            raise UserError(
                f"the tokenizer lacks {', '.join(missing)}", where=str(path), right="Was it made for other segments?"
            )
        return cls(backend, segments=segments, chinese=_is_chinese(config), form=form_of(config))

    def save(self, path: Path | str) -> None:
        """Write the tokenizer as a `tokenizer.json`, complete in itself (but for jieba's dictionary)."""
        Path(path).write_text(self._backend.to_str(pretty=True) + "\n", "utf-8", newline="\n")

    def normalise(self, text: str) -> str:
        """The text as this tokenizer sees it: `normalise`, then what its file says (lower case, for example)."""
        text = normalise(text, self._form)
        normalizer = self._backend.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens but `<unk>`."""
        text = normalise(text, self._form)
        if self._chinese:
            text = split_chinese(text)
        ids = self._backend.encode(text, add_special_tokens=False).ids
        if self._special_ids.isdisjoint(ids):
            return ids
        return [self.unknown_id if i in self._special_ids else i for i in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; special tokens are left out. Words are joined by the rule of `plait.data.words`."""
        ids = [i for i in ids if i not in self._special_ids]
        if self._joins_words:
            return join_words(self.token(i) for i in ids)
        return self._backend.decode(ids, skip_special_tokens=True)

    def token(self, id: int) -> str:
        """The token that has this id, '' where the vocabulary has a gap."""
        return self._backend.id_to_token(id) or ""

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text."""
        return [self.token(i) for i in self.encode(text)]

    def segment_id(self, name: str) -> int:
        """The id of the special token that begins the segment."""
        return self._segment_ids[name]

    @property
    def vocabulary(self) -> list[str]:
        """All tokens in the order of their ids."""
        return [self.token(i) for i in range(self.size)]

    def __reduce__(self) -> tuple[object, ...]:
        return _from_json, (self._backend.to_str(), self.segments, self._chinese, self._form)


def special_tokens(segments: Sequence[str]) -> list[str]:
    """The special tokens, in the order of their ids; refuses names of segments that cannot be one."""
    special = [PAD, UNKNOWN, END]
    for name in segments:
        token = f"<{name}>"
        if not name or normalise(name, "nfkc") != name or any(c in "<> " for c in name) or token in special:
            raise UserError(
                f"{name!r} cannot name a segment",
                right="A name is a word without spaces, '<' or '>', stands once, and is not pad, unk or end.",
            )
        special.append(token)
    return special


def _from_json(text: str, segments: Sequence[str], chinese: bool, form: Form) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(text), segments=segments, chinese=chinese, form=form)


def _is_chinese(config: AnyTokenizerConfig) -> bool:
    return isinstance(config, WordConfig) and config.language == "zh"


def _own_unknown(backend: tokenizers.Tokenizer) -> str | None:
    """The token that the model itself gives where it knows no better, if it has one."""
    model = json.loads(backend.to_str())["model"]
    if model.get("unk_id") is not None:
        return backend.id_to_token(model["unk_id"])
    unknown = model.get("unk_token")
    return unknown if unknown and backend.token_to_id(unknown) is not None else None


def _non_empty(texts: Iterable[str], form: Form) -> Iterator[str]:
    """The normalised texts without the empty ones; raises at the end if there was none."""
    seen = False
    for text in texts:
        text = normalise(text, form)
        if text:
            seen = True
            yield text
    if not seen:
        raise UserError(
            "a tokenizer cannot be trained on empty text", right="Give at least one text that is not empty."
        )


def _train_words(config: WordConfig, texts: Iterable[str], special: list[str]) -> tokenizers.Tokenizer:
    if config.max_size <= len(special):
        raise UserError(
            f"tokenizer.max_size {config.max_size} leaves no room for words", right=f"More than {len(special)}."
        )
    pattern = tokenizers.Regex(word_pattern(chinese=config.language == "zh"))
    if config.language == "zh":
        texts = map(split_chinese, texts)
    splitter = pre_tokenizers.Split(pattern, "removed", invert=True)
    return _count_tokens(texts, special, splitter, config.lowercase, config.min_count, config.max_size)


def _train_characters(config: CharacterConfig, texts: Iterable[str], special: list[str]) -> tokenizers.Tokenizer:
    splitter = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    backend = _count_tokens(texts, special, splitter, config.lowercase, 1, None)
    backend.decoder = decoders.Fuse()
    return backend


def _count_tokens(
    texts: Iterable[str],
    special: list[str],
    splitter: pre_tokenizers.PreTokenizer,
    lowercase: bool,
    min_count: int,
    max_size: int | None,
) -> tokenizers.Tokenizer:
    """A tokenizer whose vocabulary is the special tokens, then what the splitter gives, the most frequent first."""
    normalizer = normalizers.Lowercase() if lowercase else None
    counts: Counter[str] = Counter()
    for text, number in Counter(texts).items():  # questions and answers recur: each is looked at once
        text = normalizer.normalize_str(text) if normalizer else text
        for token, _ in splitter.pre_tokenize_str(text):
            counts[token] += number
    known = sorted((token for token, n in counts.items() if n >= min_count), key=lambda token: (-counts[token], token))
    vocabulary = [*special, *known][:max_size]
    backend = tokenizers.Tokenizer(models.WordLevel({t: i for i, t in enumerate(vocabulary)}, unk_token=UNKNOWN))
    if normalizer:
        backend.normalizer = normalizer
    backend.pre_tokenizer = splitter
    return backend


def _train_bpe(config: BPEConfig, texts: Iterable[str], special: list[str]) -> tokenizers.Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    least = len(alphabet) + len(special)
    if config.size < least:
        raise UserError(
            f"tokenizer.size {config.size} is too small",
            right=f"At least {least}: {len(alphabet)} bytes and {len(special)} special tokens.",
        )
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return backend
