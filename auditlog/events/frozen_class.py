"""Make frozen, slotted classes whose fields are declared by annotations.  Pure.

An object behaves as a frozen dataclass, and dataclasses.fields, asdict and replace take it.  The
decorator itself is not used, for two reasons.  For the 35 classes of the vocabulary it would cost
30 to 45 ms at import; here the code of a class is generated when its first object is made (see
codegen).  And a frozen dataclass sets each field through object.__setattr__, 1.5 us an event.

Invariants (tests of the same name in tests/auditlog/events/test_base.py):
  checked    a field of the wrong kind, an unknown and a missing one are refused by name
  frozen     no field can be set or deleted
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, dataclass_transform

from auditlog.errors import InvalidEvent
from auditlog.events.annotations import FieldSpec, read_fields
from auditlog.redaction.redactor import KEYLESS

__all__ = ["Frozen", "FrozenMeta"]


class _DataclassFields:
    """Makes dataclasses.fields, asdict and replace take an object; built when one of them asks."""

    def __get__(self, instance: object, owner: type[Frozen]) -> dict[str, Any]:
        import dataclasses  # noqa: PLC0415  (only who asks for it pays)

        fields = sorted(owner.declared, key=lambda field: not field.required)
        specs: list[Any] = [
            (field.name, Any) if field.required else (field.name, Any, field.default)
            for field in fields
        ]
        made = dataclasses.make_dataclass(owner.__name__, specs, kw_only=True)
        return {field.name: field for field in dataclasses.fields(made)}


class _Signature:
    """Shows the fields to inspect.signature, help and editors that ask at run time."""

    def __get__(self, instance: object, owner: type[Frozen]) -> object:
        import inspect  # noqa: PLC0415  (only who asks for it pays)

        parameter = inspect.Parameter
        kind = parameter.KEYWORD_ONLY if owner.keyword_only else parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(
            [
                parameter(
                    field.name,
                    kind,
                    default=parameter.empty if field.required else field.default,
                    annotation=field.kind,
                )
                for field in owner.declared
            ]
        )


@dataclass_transform(frozen_default=True)
class FrozenMeta(type):
    """Turns the annotations of a class into slots before the class exists."""

    declared: tuple[FieldSpec, ...]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> FrozenMeta:
        inherited = {
            field.name: field
            for base in reversed(bases)
            if isinstance(base, FrozenMeta)
            for field in base.declared
        }
        own = read_fields(name, namespace, inherited.values())
        for field in own:
            namespace.pop(field, None)  # a slot and a class attribute exclude each other
        new = (field for field in own if field not in inherited)
        namespace["__slots__"] = (*namespace.get("__slots__", ()), *new)
        namespace["declared"] = tuple({**inherited, **own}.values())
        namespace["__match_args__"] = tuple(field.name for field in namespace["declared"])
        if bases:
            namespace.setdefault("__new__", _generate_and_make)
        return super().__new__(mcs, name, bases, namespace)


class Frozen(metaclass=FrozenMeta):
    """An object that is checked when it is made and never changes."""

    declared: ClassVar[tuple[FieldSpec, ...]]
    """Every field, inherited ones first."""
    keyword_only: ClassVar[bool] = False
    """Whether the constructor takes its fields by name alone."""

    if not TYPE_CHECKING:  # the constructor's real signature is what dataclass_transform makes
        __dataclass_fields__ = _DataclassFields()
        __signature__ = _Signature()

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

        def __delattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    @classmethod
    def _generate(cls) -> None:
        """Give the class its own ``__new__``, at the first object."""
        raise NotImplementedError

    def _values(self) -> dict[str, Any]:
        names = [field.name for field in self.declared]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self._values().items())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self._values().items())
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._values())


def _restore(cls: type[Frozen], values: dict[str, Any]) -> Frozen:
    return cls(**values)


def _shown(value: object) -> str:
    """The value for a repr, without secrets."""
    if isinstance(value, Frozen):
        return repr(value)
    try:
        return repr(KEYLESS.clean(value, ""))
    except InvalidEvent:
        return f"<{type(value).__name__}>"


def _generate_and_make(cls: type[Frozen], /, *args: object, **fields: object) -> Frozen:
    """The ``__new__`` of a class that has not made an object yet."""
    cls._generate()
    return cls.__new__(cls, *args, **fields)
