"""Compare and compress a foreign file, and remove its plain form.

A compressed form beside a plain one was left by a compression that was killed, ours or another's.
It is kept where it is whole, and replaced where it is cut off and all its bytes are in the plain
one; where it contains anything else, both stay.

Invariants (tests of the same name in tests/retention/test_foreign_forms.py):
  equal       the compressed form contains exactly the bytes of the plain one
  torn        a form that is cut off is replaced, and one with other content never
  attributes  mode and modification time are those of the plain file
  untouched   a file that changes during the run stays as it is
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from auditlog import durable_fs
from retention.compress import SUFFIXES, foreign_temporary, pack
from retention.content import Identity, decoded
from retention.errors import SegmentChanged, SegmentDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from retention.subjects import AdoptedFile, ForeignContent

__all__ = ["Forms", "check_forms", "compress_foreign", "remove_forms"]

Forms = dict[str, tuple[Identity, bool]]
"""By form: the identity of the file, and whether it is whole."""


def check_forms(file: AdoptedFile, stop: threading.Event) -> Forms:
    """Compare every form of the file with the first.

    Raises SegmentChanged where two of them differ, SegmentDamaged, Stopped, OSError.
    """
    first, *others = file.forms
    found: Forms = {first: (Identity.at(file.path), True)}
    for form in others:
        path = file.form_path(form)
        identity = Identity.at(path)
        found[form] = (identity, _is_whole(path, form, file, stop))
        identity.check(path)
    return found


def _is_whole(path: Path, form: str, file: AdoptedFile, stop: threading.Event) -> bool:
    """Whether another form has all bytes of the first; False: it has only the beginning."""
    pieces = decoded(file.path, file.forms[0], stop)
    block = b""
    try:
        for piece in decoded(path, form, stop):
            while len(block) < len(piece) and (more := next(pieces, b"")):
                block += more
            if not block.startswith(piece):
                raise SegmentChanged(
                    f"{file.path.name} and {path.name} hold different lines",
                    path=path,
                    hint="Both stay until one of them is renamed or removed by hand.",
                )
            block = block[len(piece) :]
    except SegmentDamaged:
        return False  # cut off; what it has is the beginning of the first
    return not block and not next(pieces, b"")


def compress_foreign(file: AdoptedFile, content: ForeignContent, stop: threading.Event) -> int:
    """Leave one compressed form and remove the others; return the bytes that this freed.

    Raises SegmentDamaged, SegmentChanged, Stopped, OSError; the plain form is then still there.
    """
    plain, forms = file.plain, check_forms(file, stop)
    before = sum(identity.size_bytes for identity, _ in forms.values())
    kept = next((form for form, (_, whole) in forms.items() if form and whole), "")
    if kept:
        _sync(file.form_path(kept))  # the program that wrote it may not have done so
    else:
        kept = SUFFIXES[file.foreign.policy.compression]
        target = file.form_path(kept)
        check = _ForeignCheck(plain, target, content, forms.get(kept))
        pack(
            plain,
            target,
            temporary=foreign_temporary(target),
            policy=file.foreign.policy,
            check=check,
            stop=stop,
        )
        forms.pop(kept, None)
    durable_fs.fsync_directory(plain.parent)
    left = {form: found for form, found in forms.items() if form != kept}
    freed = before - file.form_path(kept).stat().st_size
    remove_forms(file, left)
    return freed


def remove_forms(file: AdoptedFile, forms: Mapping[str, tuple[Identity, bool]]) -> None:
    """Unlink these forms durably, the plain one last.  Raises SegmentChanged, OSError."""
    for form in sorted(forms, reverse=True):
        path = file.form_path(form)
        forms[form][0].check(path)
        durable_fs.unlink(path)
    durable_fs.fsync_directory(file.path.parent)


class _ForeignCheck:
    """Checks that the file is what the plan saw, and its target what was looked at."""

    def __init__(
        self,
        plain: Path,
        target: Path,
        content: ForeignContent,
        known: tuple[Identity, bool] | None,
    ) -> None:
        self._plain, self._target, self._content, self._known = plain, target, content, known
        self._digest = sha256()

    def feed(self, piece: bytes) -> None:
        self._digest.update(piece)

    def finish(self) -> str:
        if self._digest.hexdigest() != self._content.sha256:
            raise SegmentChanged("the file changed while it was read", path=self._plain)
        return self._content.sha256

    def before_rename(self) -> None:
        """Replace nothing but the form that was compared before."""
        if self._known is not None:
            self._known[0].check(self._target)
        elif os.path.lexists(self._target):
            raise SegmentChanged("another process made the compressed form", path=self._target)


def _sync(path: Path) -> None:
    fd = durable_fs.open_read(path)
    try:
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
