"""Model files: fetched from a directory of sources, checked, and kept by their reference.

A file is copied beside its place, checked there and renamed: what has a model's name is whole.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAGIC", "Digests", "Malformed", "Model", "Models", "OutsideSources", "WrongDigest"]

MAGIC: Final = b"GGUF"
"""Magic bytes at the beginning of a model file (GGUF format)."""

_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class OutsideSources(Exception):
    """Someone asked for a file outside the sources."""


class Malformed(Exception):
    """The file is no model."""


class WrongDigest(Exception):
    """The file is not the one that was asked for."""

    def __init__(self, actual: str) -> None:
        super().__init__()
        self.actual = actual


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is here."""

    reference: str
    path: Path
    sha256: str
    size_bytes: int


Digests = dict[str, str]


class Models:
    """The models of one hive."""

    def __init__(self, directory: Path, sources: Path) -> None:
        self._directory = directory
        self._sources = sources
        self._known: dict[str, Model] = {}

    def get(self, reference: str) -> Model | None:
        """The model, also one that an earlier process has fetched."""
        if reference not in self._known and _REFERENCE.fullmatch(reference):
            path = self._directory / reference
            if path.is_file():
                self._known[reference] = Model(reference, path, _digest(path), path.stat().st_size)
        return self._known.get(reference)

    def fetch(self, reference: str, source: str, sha256: str | None) -> Model:
        """Copy it from the sources.  Blocks; raises the above, ValueError, OSError."""
        if _REFERENCE.fullmatch(reference) is None:
            raise ValueError("model_ref: letters, digits, dot, underscore and hyphen, up to 64")
        origin = (self._sources / source).resolve()
        if not origin.is_relative_to(self._sources.resolve()):
            raise OutsideSources
        self._directory.mkdir(parents=True, exist_ok=True)
        part = self._directory / f".{reference}.part"
        try:
            shutil.copyfile(origin, part)
            with part.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise Malformed
            actual = _digest(part)
            if sha256 is not None and actual != sha256:
                raise WrongDigest(actual)
            path = self._directory / reference
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._known[reference] = Model(reference, path, actual, path.stat().st_size)
        return self._known[reference]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
