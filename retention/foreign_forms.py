"""The forms of one foreign file: which of them can go, and how plain becomes compressed.

    read -> .<file>.gz.auditlog.tmp -> fsync -> open again, decompress, compare SHA-256 -> rename
    -> fsync the directory -> unlink the plain file

A compressed form beside a plain one was left by a compression that was killed, ours or another's.
It is kept where it is whole, and replaced where it is cut off and all it gives is in the plain one;
where it holds anything else, both stay.

Invariants (tests of the same name in tests/retention/test_foreign_forms.py):
  equal       the compressed form holds exactly the bytes of the plain one
  torn        a form that is cut off is replaced, and one that holds anything else never
  attributes  mode and modification time are those of the plain file
  untouched   a file that changed meanwhile stays as it is
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from auditlog import durable_fs
from retention.compress import SUFFIXES, check_equal, encoder_of, foreign_temporary, write_packed
from retention.content import Identity, decoded
from retention.errors import SegmentChanged, SegmentDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from retention.facts import AdoptedFile, ForeignContent

__all__ = ["Forms", "check_forms", "compress_foreign", "remove_forms"]

Forms = dict[str, tuple[Identity, bool]]
"""By form: which file it is, and whether it is whole."""


def check_forms(file: AdoptedFile, stop: threading.Event) -> Forms:
    """Every form of the file; raises SegmentChanged where two of them differ.

    Raises SegmentDamaged, Stopped, OSError.
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
    """Whether a further form holds all that the first holds; false: only a beginning of it."""
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
        return False  # cut off: all that it gave is a beginning of the first
    return not block and not next(pieces, b"")


def compress_foreign(file: AdoptedFile, content: ForeignContent, stop: threading.Event) -> int:
    """Leave one compressed form alone; how many bytes on disk that freed.

    Raises SegmentDamaged, SegmentChanged, Stopped, OSError; the plain form is then still there.
    """
    plain, forms = file.plain, check_forms(file, stop)
    before = sum(identity.size_bytes for identity, _ in forms.values())
    kept = next((form for form, (_, whole) in forms.items() if form and whole), "")
    if kept:
        _make_durable(file.form_path(kept))  # whoever wrote it may not have
    else:
        kept = SUFFIXES[file.foreign.policy.compression]
        _pack(file, kept, content, forms, stop)
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


def _pack(
    file: AdoptedFile, form: str, content: ForeignContent, forms: Forms, stop: threading.Event
) -> None:
    target, digest = file.form_path(form), sha256()
    temporary = foreign_temporary(target)
    try:
        encoder = encoder_of(file.foreign.policy)
        identity = write_packed(file.plain, temporary, encoder, digest.update, stop)
        check_equal(temporary, form, digest.hexdigest(), stop)
        _check_planned(file.plain, digest.hexdigest(), content)
        identity.check(file.plain)
        _check_target(target, forms.get(form))
        durable_fs.rename(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            durable_fs.unlink(temporary)
        raise


def _check_planned(plain: Path, digest: str, content: ForeignContent) -> None:
    if digest != content.sha256:
        raise SegmentChanged("the file changed while it was read", path=plain)


def _check_target(target: Path, known: tuple[Identity, bool] | None) -> None:
    """Nothing is renamed over but the form that was looked into."""
    if known is not None:
        known[0].check(target)
    elif os.path.lexists(target):
        raise SegmentChanged("another process made the compressed form", path=target)


def _make_durable(path: Path) -> None:
    fd = durable_fs.open_read(path)
    try:
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
