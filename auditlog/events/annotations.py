"""Read the fields of a class from its annotations.  Pure.

An annotation is a kind of auditlog.events.field_kinds or a plain type (str, int, float, bool,
datetime, Literal, a list of str, any class), alone or with ``| None``; ``Annotated`` adds the
field's name in the Elastic Common Schema.  Annotations may be strings, as they are under
``from __future__ import annotations``; then they are evaluated in the module of the class.

Invariants (tests of the same name in tests/auditlog/events/test_annotations.py):
  spelling   a field is the same however its annotation is spelled
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Collection, Iterable, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
)

from auditlog.errors import InvalidEventType
from auditlog.events import field_kinds
from auditlog.events.field_kinds import (
    ANY,
    FLOAT,
    INTEGER,
    KINDS,
    EcsName,
    FieldKind,
    instance_of,
    one_of,
)

__all__ = ["REQUIRED", "FieldSpec", "read_fields"]

REQUIRED: Final = object()
"""The default of a field that has none."""


_PLAIN: Final[Mapping[type, FieldKind]] = {
    str: KINDS["Text"],
    bool: KINDS["bool"],
    int: INTEGER,
    float: FLOAT,
    dt.datetime: KINDS["Instant"],
}


class FieldSpec(NamedTuple):
    """One declared field.  A ``nullable`` one may be None, and is then left out of the record."""

    name: str
    kind: FieldKind
    nullable: bool = False
    default: object = REQUIRED
    ecs: EcsName | None = None

    @property
    def required(self) -> bool:
        """Whether the constructor has to be given it."""
        return self.default is REQUIRED


def read_fields(
    class_name: str, namespace: Mapping[str, Any], inherited: Iterable[FieldSpec]
) -> dict[str, FieldSpec]:
    """Return the fields that a class body declares, or gives another default, by name.

    ``inherited`` are the fields of its bases.  Raises InvalidEventType, which names the class and
    the field.
    """
    names: dict[str, Any] = {}
    if (module := sys.modules.get(namespace.get("__module__", ""))) is not None:
        names = vars(module)
    fields = {
        field.name: field._replace(default=namespace[field.name])
        for field in inherited
        if field.name in namespace
    }
    for name, annotation in _annotations(namespace).items():
        place = f"{class_name}.{name}"
        spelled = annotation
        if isinstance(annotation, str):
            if annotation.startswith(("ClassVar", "typing.ClassVar")):
                continue
            spelled = _evaluated(annotation, names)
        if spelled is ClassVar or get_origin(spelled) is ClassVar:
            continue
        kind, nullable, ecs = _read(spelled)
        if kind is None:
            raise InvalidEventType(
                f"{place}: {annotation!r} is not one type; use a kind ({', '.join(KINDS)}), a plain"
                " type, Literal, or one of them | None"
            )
        if name.startswith("_"):  # the generated code has its own names there
            raise InvalidEventType(f"{place}: a field's name starts with a letter")
        default = namespace.get(name, REQUIRED)
        if isinstance(default, (list, dict, set)):
            raise InvalidEventType(f"{place}: a default that can change; use a tuple, or None")
        fields[name] = FieldSpec(name, kind, nullable or default is None, default, ecs)
    return fields


def _annotations(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """The annotations of a class body; from 3.14 on they are made by a function."""
    found: Mapping[str, Any] | None = namespace.get("__annotations__")
    if found is None and sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415  (new in 3.14)

        annotate = annotationlib.get_annotate_from_class_namespace(namespace)
        if annotate is not None:
            found = annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF)
    return found or {}


def _evaluated(annotation: str, names: dict[str, Any]) -> object:
    """The object that an annotation in a string stands for.

    A name that is only imported for the type checker cannot be evaluated; then a kind is recognised
    by its name.
    """
    text = annotation.removesuffix(" | None")
    found = names.get(text)
    if found is None:
        last = text.rpartition(".")[2]
        try:
            found = eval(text, names)  # noqa: S307  (the source of the class itself)
        except (NameError, AttributeError, TypeError):
            found = getattr(field_kinds, last, None) if last in KINDS else None
    return found if text is annotation else Union[found, None]  # noqa: UP007  (of any object)


def _read(annotation: Any) -> tuple[FieldKind | None, bool, EcsName | None]:
    """The kind, whether None is allowed, and the ECS name; no kind for an unknown annotation."""
    nullable, ecs = False, None
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *metadata = get_args(annotation)
            ecs = next((each for each in metadata if isinstance(each, EcsName)), ecs)
            for each in metadata:
                if isinstance(each, FieldKind):
                    return each, nullable, ecs
        elif origin in (Union, UnionType):
            options = [each for each in get_args(annotation) if each is not NoneType]
            nullable = len(options) < len(get_args(annotation))
            if len(options) != 1:
                return None, nullable, ecs
            annotation = options[0]
        elif origin is None and (inner := _named(annotation)) is not None:
            annotation = inner
        else:
            return _plain(annotation, origin), nullable, ecs


def _named(annotation: Any) -> Any:
    """Return the type behind a NewType or a ``type`` statement, None for anything else."""
    return getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)


def _plain(annotation: Any, origin: Any) -> FieldKind | None:
    """The kind of a plain type; None for what is not one."""
    if origin is Literal:
        return one_of(get_args(annotation))
    if annotation in (Any, object):
        return ANY
    wanted = origin or annotation
    if not isinstance(wanted, type):
        return None
    if issubclass(wanted, Mapping):
        return KINDS["Changes"]
    if issubclass(wanted, Collection) and str in get_args(annotation):
        return KINDS["Labels"]
    return _PLAIN.get(wanted) or instance_of(wanted)
