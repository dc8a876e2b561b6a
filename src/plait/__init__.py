"""Plait: train language models that read text, images, audio and video, and measure which of them they need.

In: nothing; importing the package loads neither PyTorch nor the configuration, so that the command line answers at once.
Out: `plait.train(config, folder)`, `plait.compare(config, arms)`, `plait.load(folder)`, `plait.UserError`, `plait.__version__`,
each loaded at its first use.
Invariant: `plait.train` and `plait.compare` are the subpackages, and can be called, whatever was imported before.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plait.errors import UserError

if TYPE_CHECKING:
    from plait.api import TrainedModel, compare, load, train

    __version__: str

__all__ = ["TrainedModel", "UserError", "__version__", "compare", "load", "train"]


class CallablePackage(ModuleType):
    """A subpackage that can be called as well: `plait.train("run.yaml", "runs/first")` is `plait.api.train`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The call of its name in `plait.api`."""
        return getattr(importlib.import_module("plait.api"), self.__name__.rpartition(".")[2])(*args, **options)


class Package(ModuleType):
    """This module: Python sets every imported subpackage as its attribute, and some become callable in that instant."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("train", "compare") and isinstance(value, ModuleType):
            value.__class__ = CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package


def __getattr__(name: str) -> Any:
    match name:
        case "train" | "compare":
            return importlib.import_module(f"plait.{name}")
        case "load" | "TrainedModel":
            return getattr(importlib.import_module("plait.api"), name)
        case "__version__":
            from importlib.metadata import version

            return version("plait")
    raise AttributeError(f"module 'plait' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
