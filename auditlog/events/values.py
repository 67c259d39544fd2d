"""Convert Python values to JSON values.  Pure.

    Decimal, Fraction            text: "12.50"
    Path                         text
    bytes, bytearray             base64
    timedelta                    ISO 8601: "PT1H30M"
    datetime, date, time         ISO 8601; an aware datetime in UTC, a naive one without a zone
    UUID, IP address, network    text
    Enum                         its value
    int beyond 64 bits           text
    NaN, infinity                null, named
    dataclass, attrs, pydantic   an object of its fields
    exception                    {"type": "builtins.ValueError", "message": "..."}
    set, deque, generator, …     a list; what has tolist() (numpy), that
    key that is not text         its text: 7 -> "7", None -> "null", True -> "true"
    anything else                open(default=...), or "<its type>", named

A value that was replaced, not only spelled, is named beside it, in the member ``_replaced`` of
details: ``["ratio was nan"]``.  With ``strict`` nothing is converted, and refused instead.

Invariants (tests of the same name in tests/auditlog/events/test_values.py):
  never_refused   every value becomes JSON
  unchanged       what is JSON already stays as it is
  named           what is replaced is named with its path
"""

from __future__ import annotations

import datetime as dt
import math
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.redaction.redactor import KEYLESS, Redactor

__all__ = ["LENIENT", "REPLACED", "Conversion", "ValueRules", "cleaned", "exception_fields"]

REPLACED: Final = "_replaced"
"""The member of details that names what was replaced."""

_MAX_DEPTH: Final = 24  # below that of redaction, which refuses what is deeper
_MAX_ITEMS: Final = 20_000  # of an iterable; more make no record, and some never end
_TEXT: Final = (
    *(UUID, Decimal, Fraction, dt.date, dt.time),
    *(IPv4Address, IPv6Address, IPv4Network, IPv6Network),
)


class ValueRules(NamedTuple):
    """``default`` converts what has no JSON spelling; ``strict`` refuses instead of converting."""

    default: Callable[[Any], Any] | None = None
    strict: bool = False


LENIENT: Final = ValueRules()


def cleaned(
    value: Any, where: str, rules: ValueRules = LENIENT, redactor: Redactor = KEYLESS
) -> tuple[Any, list[str]]:
    """Return the redacted JSON value, and what was replaced in it: "ratio was nan".

    Paths are below ``where``.

    The common value is JSON already and is spared the conversion.  Raises InvalidEvent when strict,
    RecordTooLarge.
    """
    try:
        return redactor.clean(value, where), []
    except RecordTooLarge:
        raise
    except InvalidEvent:
        if rules.strict:
            raise
    conversion = Conversion(rules)
    made = conversion.convert(value, "")
    return redactor.clean(made, where), redactor.clean(conversion.replaced, where)


def exception_fields(error: BaseException) -> dict[str, str]:
    """Return an exception's type and message, never its traceback or locals."""
    kind = type(error)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  (a foreign __str__ may raise anything)
        message = "<its text cannot be had>"
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "message": message}


class Conversion:
    """One conversion; ``replaced`` gathers the paths of replaced values and what they were."""

    def __init__(self, rules: ValueRules) -> None:
        self.replaced: list[str] = []
        self._default = rules.default

    def convert(self, value: Any, path: str, depth: int = 0) -> Any:  # noqa: PLR0911  (one a type)
        """Return the value as JSON has it."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self.convert(value.value, path, depth)
        if isinstance(value, str):
            return self._text(str.__str__(value), path)
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**64 else str(int(value))
        if isinstance(value, float):
            if math.isfinite(value):
                return float(value)
            return self._replace(path, str(float(value)), None)
        if depth >= _MAX_DEPTH:
            return self._replace(path, "nested too deep, or in itself", f"<{_name(value)}>")
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        try:
            return self._other(value, path, depth)
        except RecordTooLarge:
            raise
        except Exception as error:  # noqa: BLE001  (code of the value itself ran: __iter__, model_dump)
            return self._replace(path, f"{_name(error)} in {_name(value)}", f"<{_name(value)}>")

    def _other(self, value: Any, path: str, depth: int) -> Any:  # noqa: PLR0911, PLR0912  (by type)
        if isinstance(value, dt.datetime):
            return value if value.tzinfo is not None else value.isoformat()
        if isinstance(value, _TEXT):
            return str(value)
        if isinstance(value, dt.timedelta):
            return _duration(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return b64encode(value).decode("ascii")
        if isinstance(value, BaseException):
            return self.convert(exception_fields(value), path, depth)
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        kind = type(value)
        if hasattr(kind, "__fspath__"):
            return self.convert(value.__fspath__(), path, depth + 1)
        if hasattr(kind, "model_dump"):  # pydantic
            return self.convert(value.model_dump(), path, depth + 1)
        for declared in ("__dataclass_fields__", "__attrs_attrs__"):
            if (fields := getattr(kind, declared, None)) is not None:
                names = fields if isinstance(fields, Mapping) else [each.name for each in fields]
                found = {name: getattr(value, name) for name in names if hasattr(value, name)}
                return self._mapping(found, path, depth)
        if hasattr(kind, "tolist"):  # numpy, array
            return self.convert(value.tolist(), path, depth + 1)
        if isinstance(value, Iterable):
            items = list(islice(value, _MAX_ITEMS + 1))
            if len(items) > _MAX_ITEMS:
                return self._replace(path, f"more than {_MAX_ITEMS} items", f"<{_name(value)}>")
            made = [
                self.convert(item, f"{path}[{index}]", depth + 1)
                for index, item in enumerate(items)
            ]
            return sorted(made, key=_order) if isinstance(value, (set, frozenset)) else made
        if self._default is not None:
            return self.convert(self._default(value), path, depth + 1)
        return self._replace(path, f"{kind.__module__}.{kind.__qualname__}", f"<{_name(value)}>")

    def _mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in value.items():
            name = unused = self._key(key, path)
            number = 1
            while name in made:  # 7 and "7"
                number += 1
                name = f"{unused}~{number}"
            made[name] = self.convert(item, f"{path}.{name}" if path else name, depth + 1)
        return made

    def _key(self, key: Any, path: str) -> str:
        if isinstance(key, Enum):
            return self._key(key.value, path)
        if isinstance(key, str):
            return self._text(str.__str__(key), path)
        if key is None or isinstance(key, bool):
            return orjson.dumps(key).decode()
        if isinstance(key, (int, float, *_TEXT)):
            return str(key)
        made = self.convert(key, path, _MAX_DEPTH - 1)
        return made if isinstance(made, str) else orjson.dumps(made).decode()

    def _text(self, text: str, path: str) -> str:
        """The text; a lone surrogate, as os.fsdecode makes them, becomes its escape."""
        try:
            text.encode()
        except UnicodeEncodeError:
            kept = text.encode("utf-8", "backslashreplace").decode()
            return str(self._replace(path, "lone surrogates", kept))
        return text

    def _replace(self, path: str, was: str, by: Any) -> Any:
        self.replaced.append(f"{path or 'it'} was {was}")
        return by


def _name(value: object) -> str:
    return type(value).__qualname__


def _order(value: Any) -> bytes:
    return orjson.dumps(value, default=str)


def _duration(value: dt.timedelta) -> str:
    """A duration as ISO 8601 has it, as pydantic and Django write it."""
    sign = "-" if value < dt.timedelta() else ""
    value = abs(value)
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    text = f"{seconds}.{value.microseconds:06}".rstrip("0") if value.microseconds else str(seconds)
    time = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes)
    time += f"{text}S" * bool(seconds or value.microseconds)
    days = f"{value.days}D" * bool(value.days)
    return f"{sign}P{days}{'T' + time if time or not days else ''}" if days or time else "PT0S"
