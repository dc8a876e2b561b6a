"""Code of one's own: which module a `kind: my_module:MyConfig` may import, for whom, and from which file.

In: the name of a kind, and who names it: the user's own configuration, or the configuration of a run.
Out: the class; or one message that names the module, its file, and what would be right. Nothing is imported to find that out.
Invariant: a run imports nothing unless it is trusted (`--trust-code`, or the user's own configuration names the same module in the
same command). A module is one file or package directly in the working directory, never Python's own, never in a run's folder;
what is executed is exactly the file that was looked at.

Parts of installed packages are named by entry points of the group `plait.parts`: whoever installed the package trusts it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from plait.errors import UserError
from plait.files import read_bytes

PARTS = "plait.parts"
"""The group of entry points by which an installed package offers parts: `my-fusion = "my_package.fusions:MyConfig"`."""

OF_A_RUN = ("config.yaml", "environment.json")
"""A folder that holds both is a run's."""

MAX_BYTES = 16 * 2**20
FLAG = "--trust-code"
ALLOW = f"If you trust that file, add {FLAG} (in Python: trust_code=True)."


class Code(NamedTuple):
    """A module of one's own as it was loaded: its file, and the SHA-256 of what was executed (of a package: of all its files)."""

    module: str
    path: str
    digest: str


@dataclass(frozen=True)
class Trust:
    """Which code may be imported for a run: all that it names, or the modules (→ digest) of the user's own configuration."""

    everything: bool = False
    modules: Mapping[str, str] = field(default_factory=dict)


NOTHING = Trust()


@dataclass(frozen=True)
class _Reader:
    """The run whose configuration is being read, how far it is trusted, and the digests that it noted."""

    folder: Path
    trust: Trust
    noted: Mapping[str, Any]


_reader: ContextVar[_Reader | None] = ContextVar("plait-run-being-read", default=None)
"""None: what is read is the user's own."""

_loaded: dict[str, Code] = {}
"""The modules of one's own that this process has used."""

_carried: dict[str, Code] = {}
"""In a process that Plait started: the modules that the process before it had loaded."""


@contextmanager
def reading_run(folder: Path, trust: Trust, noted: Mapping[str, Any]) -> Iterator[None]:
    """Inside, kinds are named by the run in `folder`; `noted`: module → what the run noted of it when it was made."""
    token = _reader.set(_Reader(folder, trust, noted))
    try:
        yield
    finally:
        _reader.reset(token)


def reading_file(path: Path, trust: Trust) -> Any:
    """Inside, kinds are named by a YAML file: the user's own, unless it lies in the folder of a run."""
    folder = run_around(path)
    return nullcontext() if folder is None else reading_run(folder, trust, {})


def run_around(path: Path | str) -> Path | None:
    """The folder of a run in which a path lies, as it is written or with its links followed; None where there is none."""
    for start in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):  # noqa: PTH100 - links are not followed in the first
        for folder in (start, *start.parents):
            if all(os.path.lexists(folder / name) for name in OF_A_RUN):
                return folder
    return None


# -- finding a class --


def find_class(kind: str) -> object:
    """What `my_module:MyConfig` names, once its module may be loaded; None where the module has no such name."""
    module, _, name = kind.partition(":")
    path = _checked(kind, module)
    reader = _reader.get()
    if reader is not None:
        _refuse_untrusted(reader, kind, module, path)
    found = _module(module, path)
    return vars(found).get(name)


def find_part(kind: str) -> object:
    """The class that an installed package offers under this name (`plait.parts`); None where none does."""
    found = [entry for entry in _entries() if entry.name == kind]
    if not found:
        return None
    if len({entry.value for entry in found}) > 1:
        packages = ", ".join(sorted(entry.dist.name for entry in found if entry.dist))
        raise UserError(f"several installed packages offer a part {kind!r}: {packages}", right="Uninstall all but one.")
    spec = _spec(found[0].module.partition(".")[0])
    if spec is not None and spec.origin and (run := run_around(spec.origin)):
        raise UserError(
            f"the part {kind!r} would be loaded from {spec.origin}, in the run {run}", right="Move it away."
        )
    try:
        return found[0].load()
    except Exception as error:
        raise UserError(f"the installed part {kind!r} ({found[0].value}) cannot be loaded: {_told(error)}") from error


def part_names() -> list[str]:
    """The names of all parts that installed packages offer."""
    return sorted({entry.name for entry in _entries()})


def _entries() -> Iterator[importlib.metadata.EntryPoint]:
    """Entry points of installed packages; what lies in the working directory or in a run was only put there."""
    for distribution in importlib.metadata.distributions():
        entries = [entry for entry in distribution.entry_points if entry.group == PARTS]
        if entries:
            place = Path(str(distribution.locate_file(""))).resolve()
            if place != Path.cwd().resolve() and run_around(place) is None:
                yield from entries


def _refuse_untrusted(reader: _Reader, kind: str, module: str, path: Path | None) -> None:
    """One message for a run that is not trusted, or whose code is no longer what it was trained with."""
    if reader.trust.everything:
        return
    place = path or _place(module)
    digest = reader.trust.modules.get(module)
    if digest is None:
        raise UserError(
            f"the run names code of its own, {kind} (module {module}, file {place}); nothing of it was run", right=ALLOW
        )
    noted = reader.noted.get(module)
    if isinstance(noted, Mapping) and noted.get("sha256") not in (None, digest):
        raise UserError(
            f"{kind} (module {module}, file {place}) is not the code that the run was trained with: the file changed",
            right=f"Put the file back, or go on with the changed one: add {FLAG} (in Python: trust_code=True).",
        )


def _checked(kind: str, module: str) -> Path | None:
    """The file of a module that may be loaded (None: this program has imported it already, from elsewhere); refused otherwise."""
    if not all(part.isidentifier() for part in (*module.split("."), kind.partition(":")[2])):
        raise UserError(f"{kind!r} is not MODULE:CLASS", right="Write kind: my_module:MyConfig")
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        raise UserError(
            f"the module {module} ({_place(module)}) is Python's own and never loaded, with {FLAG} neither",
            right="Name a module of your own in the working directory.",
        )
    if module in _carried:
        return Path(_carried[module].path)
    path = None if "." in module else _candidate(module)
    if path is None:
        if module in sys.modules and _reads_as_loaded(module):
            return None
        raise _not_found(kind, module)
    if run := run_around(path):
        raise UserError(
            f"the module {module} ({path}) lies in the folder of a run, {run}, and is never loaded, with {FLAG} neither",
            right="Read it; if you trust it, copy it into your own working directory.",
        )
    if (other := _other(module, path)) is not None:
        raise UserError(
            f"two modules are called {module}: {path} and {other}",
            right="Give the one in the working directory another name.",
        )
    return path


def _not_found(kind: str, module: str) -> UserError:
    right = "Put a file or a package (with __init__.py) of that name there"
    if "." in module:
        top, name = module.partition(".")[0], kind.partition(":")[2]
        right = f"Let {top}/__init__.py there import {name}, and write {top}:{name}"
    return UserError(
        f"the module {module} ({_place(module)}) is not loaded: code of one's own lies directly in {Path.cwd()}, the "
        "working directory",
        right=f"{right}; an installed package offers its parts by entry points ({PARTS}).",
    )


def _candidate(module: str) -> Path | None:
    """The package or file of that name directly in the working directory, as Python would choose."""
    here = Path.cwd()
    for path in (here / module / "__init__.py", here / f"{module}.py"):
        if path.is_file():
            return path
    return None


def _reads_as_loaded(module: str) -> bool:
    """Whether the program has imported the module itself, and not out of a run's folder."""
    file = getattr(sys.modules[module], "__file__", None)
    return not (isinstance(file, str) and run_around(file))


def _other(module: str, path: Path) -> str | None:
    """Where else a module of this name comes from, as far as that is another file."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        return None if isinstance(file, str) and _same(file, path) else str(file or "built in")
    spec = _spec(module)
    if spec is None or spec.origin is None or _same(spec.origin, path):
        return None
    return spec.origin


def _same(one: Path | str, other: Path | str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _spec(top: str) -> Any:
    """Where Python would find a module of the top level; that imports nothing."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None


def _place(module: str) -> str:
    """The file from which Python would import a module, found without importing it or its parents."""
    top, *inner = module.split(".")
    folders = [Path.cwd() / top]
    spec = _spec(top)
    if spec is not None:
        if not inner:
            stdlib = Path(sysconfig.get_path("stdlib")) / f"{top}.py"
            known = {
                "frozen": str(stdlib) if stdlib.exists() else "frozen into Python",
                "built-in": "built into Python",
            }
            if spec.origin:
                return known.get(spec.origin) or str(spec.origin)
        folders += [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        path = folder.joinpath(*inner)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return str(file)
        if path.is_dir():
            return f"{path}, a folder without __init__.py"
    return "no such file"


# -- loading it --


class _Exactly(SourceFileLoader):
    """Executes the given bytes: neither a file exchanged in between nor an older compiled one."""

    def __init__(self, module: str, path: str, source: bytes) -> None:
        super().__init__(module, path)
        self.source = source

    def get_code(self, fullname: str) -> Any:
        """The code of these very bytes."""
        return self.source_to_code(self.source, self.path)


def _module(module: str, path: Path | None) -> ModuleType:
    """The module, imported now unless it was before."""
    if module in sys.modules:
        found = sys.modules[module]
        file = getattr(found, "__file__", None)
        if path is not None and not _same(str(file), path):
            raise UserError(f"two modules are called {module}: {path} and {file}", right="Give one another name.")
        if module not in _loaded and isinstance(file, str) and Path(file).suffix == ".py":
            _loaded[module] = Code(module, file, digest_of(Path(file))[0])
        return found
    assert path is not None
    digest, source = digest_of(path)
    carried = _carried.get(module)
    if carried is not None and carried.digest != digest:
        raise UserError("changed while the command ran", where=str(path), right="Give the command again.")
    if "." in module:  # only one that the process before this one had imported by itself
        found = importlib.import_module(module)
        if not _same(str(found.__file__), path):
            raise UserError(f"two modules are called {module}: {path} and {found.__file__}", right="Rename one.")
        return found
    spec = importlib.util.spec_from_file_location(module, path, loader=_Exactly(module, str(path), source))
    assert spec is not None
    found = sys.modules[module] = importlib.util.module_from_spec(spec)
    folder = str(path.parent.parent if path.name == "__init__.py" else path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # for what the module imports from beside it
    try:
        _Exactly(module, str(path), source).exec_module(found)
    except Exception as error:
        del sys.modules[module]
        raise UserError(f"the module {module} cannot be imported: {_told(error)}", where=str(path)) from error
    _loaded[module] = Code(module, str(path), digest)
    return found


def digest_of(path: Path) -> tuple[str, bytes]:
    """The SHA-256 of a module's file, or of all Python files of the package that it begins; and the file's bytes."""
    source = read_bytes(path, max_bytes=MAX_BYTES)
    if path.name != "__init__.py":
        return hashlib.sha256(source).hexdigest(), source
    digest = hashlib.sha256()
    for file in sorted(path.parent.rglob("*.py")):
        data = source if file == path else read_bytes(file, max_bytes=MAX_BYTES)
        digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest(), source


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


# -- what was used --


def code_of(kinds: Iterable[str]) -> list[Code]:
    """The modules behind kinds `module:Class` that this process has used."""
    modules = dict.fromkeys(kind.partition(":")[0] for kind in kinds if ":" in kind)
    for module in modules:
        if module in sys.modules and module not in _loaded:  # a ready configuration, made by the program itself
            _module(module, None)
    return [_loaded[module] for module in modules if module in _loaded]


def carried() -> tuple[Code, ...]:
    """All modules of one's own that this process has used, for a process that it starts."""
    return tuple(code for code in _loaded.values() if code.module != "__main__")


def carry(codes: Iterable[Code]) -> None:
    """In a process that Plait started: these modules may be loaded, from these files, while they are what they were."""
    _carried.update({code.module: code for code in codes})


__all__ = [
    "NOTHING",
    "Code",
    "Trust",
    "carried",
    "carry",
    "code_of",
    "find_class",
    "find_part",
    "reading_file",
    "reading_run",
]
