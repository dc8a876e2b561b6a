"""Which suffixes mean a picture, a recording, a video or a text, and which are media of kinds that are not read.

In: a file's name; for a name that says nothing, its first bytes.
Out: the field of a row that the file fills, or what it is instead.
Invariant: what a folder of media gave before stays as it was by the first rules (`data.rules: 1`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

from plait.modalities import MODALITIES

Rules = Literal[1, 2]
"""By which rules a manifest is read: 1 is how runs of the first format read it."""

FIRST_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff"),
    "video": (".mp4", ".mkv", ".webm", ".avi", ".mov"),
    "target": (".txt",),
}
"""By the first rules, for good. Where two files of a stem fill one field, that of these suffixes is read."""

TARGETS = FIRST_SUFFIXES["target"]
VIDEOS = (*FIRST_SUFFIXES["video"], ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
"""Films, which no modality reads yet."""

_UNREAD_TEXT = {
    "a picture": (
        ".jxl .raw .dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .orf .rw2 .raf .pef .srw .x3f .3fr .iiq .erf .kdc .mrw .rwl "
        ".psd .psb .xcf .svg .svgz .eps .ai .ico .jpx .jpf .jpm .mj2 .exr .hdr .dds .jxr .wdp .hdp .bpg .flif .wmf .emf .icns "
        ".fits .fit .dcm .mpo .heics .avifs .apng .sgi .rgb .ras .xbm .xpm .pict .pct .cur .ani"
    ),
    "a recording": (
        ".wma .ra .ape .wv .tta .ac3 .eac3 .dts .mid .midi .spx .gsm .sd2 .8svx .dsf "
        ".dff .m4p .m4r .aax .aa .qcp .mp1 .mpc .wve .ircam .paf .svx .nist .avr .dss .ds2 .dvf .msv "
        ".vox .ofr .aob .xm .s3m"
    ),
    "a video": ".mts .m2ts .vob .asf .rm .rmvb .divx .f4v .mxf .ogm .dv .amv .y4m .m1v .m2v",
}
UNREAD_KIND = {suffix: kind for kind, suffixes in _UNREAD_TEXT.items() for suffix in suffixes.split()}
"""Media of kinds that a folder does not read."""

MAGIC = (
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89PNG\r\n", "a picture"),
    (b"GIF8", "a picture"),
    (b"II*\0", "a picture"),
    (b"MM\0*", "a picture"),
    (b"\xff\x0a", "a picture"),
    (b"\0\0\0\x0cJXL ", "a picture"),
    (b"\0\0\0\x0cjP  ", "a picture"),
    (b"8BPS", "a picture"),
    (b"fLaC", "a recording"),
    (b"OggS", "a recording"),
    (b"ID3", "a recording"),
    (b"\xff\xfb", "a recording"),
    (b"\xff\xf1", "a recording"),
    (b"#!AMR", "a recording"),
    (b"caff", "a recording"),
    (b".snd", "a recording"),
    (b"FORM", "a recording"),
    (b"RIFF", "a recording or a picture"),
    (b"\x30\x26\xb2\x75", "a recording or a video"),
    (b"\x1a\x45\xdf\xa3", "a recording or a video"),
)
"""How files of media begin."""


def fields_of_suffixes(rules: Rules = 2) -> dict[str, str]:
    """Suffix → the field that such a file fills: of two modalities that know it the earlier one. Asked anew for every folder, since
    more modalities may have been registered."""
    known = {name: modality.suffixes for name, modality in MODALITIES.items()}
    tables = FIRST_SUFFIXES if rules == 1 else {"target": TARGETS, **known, "video": known.get("video", ()) + VIDEOS}
    found: dict[str, str] = {}
    for field, suffixes in tables.items():
        found = {**dict.fromkeys(suffixes, field), **found}
    return found


def suffix_of(name: str) -> str:
    """The suffix in lower case: `.jpg`."""
    return PurePath(name).suffix.lower()


def media_kind(head: bytes) -> str | None:
    """What a file of media is by its first bytes, None for another file."""
    if head[4:8] == b"ftyp":
        return "a recording, a picture or a video"
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
