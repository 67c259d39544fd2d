"""Convert a journal entry, as printed by ``journalctl -o json``, to a document.  Pure.

Trusted and well-known fields (systemd.journal-fields(7)) get their names of the Elastic Common
Schema, as Filebeat gives them; every other field is under ``journald.custom``.  In that JSON a
field of bytes is an array of numbers, one that occurs several times an array of values, and one
that is too large null.

Invariants (tests of the same name in tests/shippers/sources/journald/test_entry.py):
  never_lost  any line whatever gives a document that is valid JSON
  identity    the id depends on the source and __CURSOR alone
  all_fields  each field of an entry is somewhere in its document
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import orjson

from auditlog.format.json_text import encoded
from auditlog.format.record import format_timestamp
from shippers.item import Document, content_id

__all__ = ["to_document"]

_PRIORITIES: Final = ("0", "1", "2", "3", "4", "5", "6", "7")
_LEVELS: Final = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")

_NAMES: Final = {
    "MESSAGE": ("message",),
    "MESSAGE_ID": ("event", "code"),
    "CODE_FILE": ("log", "origin", "file", "name"),
    "CODE_FUNC": ("log", "origin", "function"),
    "SYSLOG_IDENTIFIER": ("log", "syslog", "appname"),
    "SYSLOG_PID": ("log", "syslog", "procid"),
    "_SYSTEMD_UNIT": ("systemd", "unit"),
    "_SYSTEMD_SLICE": ("systemd", "slice"),
    "_SYSTEMD_CGROUP": ("systemd", "cgroup"),
    "_SYSTEMD_INVOCATION_ID": ("systemd", "invocation_id"),
    "_TRANSPORT": ("systemd", "transport"),
    "_HOSTNAME": ("host", "hostname"),
    "_MACHINE_ID": ("host", "id"),
    "_BOOT_ID": ("host", "boot", "id"),
    "_COMM": ("process", "name"),
    "_EXE": ("process", "executable"),
    "_CMDLINE": ("process", "command_line"),
    "_UID": ("user", "id"),
    "_GID": ("user", "group", "id"),
}
_NUMBERS: Final = {
    "_PID": ("process", "pid"),
    "CODE_LINE": ("log", "origin", "file", "line"),
    "SYSLOG_FACILITY": ("log", "syslog", "facility", "code"),
}
_ADDRESSES: Final = {
    "__REALTIME_TIMESTAMP": "realtime_timestamp",
    "__MONOTONIC_TIMESTAMP": "monotonic_timestamp",
    "__CURSOR": "cursor",
    "__SEQNUM": "seqnum",
    "__SEQNUM_ID": "seqnum_id",
}


def to_document(line: bytes, source: str, now: dt.datetime) -> tuple[Document, str | None, bool]:
    """The document, the entry's cursor, and whether the line could be read as an entry."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        entry = None
    cursor = entry.get("__CURSOR") if isinstance(entry, dict) else None
    if not isinstance(cursor, str):
        at = format_timestamp(now)
        body = {
            "@timestamp": at,
            "message": line.rstrip(b"\n").decode("utf-8", "backslashreplace"),
            **_error(source, "journal", "the line is not an entry of the journal"),
        }
        return Document(source, content_id(source, line), at, _dump(body)), None, False
    at = _timestamp(entry.get("__REALTIME_TIMESTAMP"), now)
    document: dict[str, Any] = {"@timestamp": at}
    too_large: list[str] = []
    for name, given in entry.items():
        value = _value(given)
        if value is None:
            too_large.append(name)
        else:
            _place(document, name, value)
    hostname = document.get("host", {}).get("hostname")
    if isinstance(hostname, str):
        document["host"]["name"] = hostname
    if too_large:
        reason = f"journalctl left out {', '.join(sorted(too_large))}"
        document |= _error(source, "field_too_large", reason)
    return Document(source, content_id(source, cursor), at, _dump(document)), cursor, True


def _error(source: str, kind: str, message: str) -> dict[str, Any]:
    return {"auditlog": {"source": {"name": source, "error": {"type": kind, "message": message}}}}


def _place(document: dict[str, Any], name: str, value: Any) -> None:
    if name == "PRIORITY" and isinstance(value, str) and value in _PRIORITIES:
        code = int(value)
        _set(document, ("log", "syslog", "severity"), {"code": code, "name": _LEVELS[code]})
        _set(document, ("log", "level"), _LEVELS[code])
    elif name in _NUMBERS and isinstance(value, str) and _is_number(value):
        _set(document, _NUMBERS[name], int(value))
    elif name in _NAMES:
        _set(document, _NAMES[name], value)
    elif name in _ADDRESSES:
        _set(document, ("journald", _ADDRESSES[name]), value)
    else:
        _set(document, ("journald", "custom", name.lower().lstrip("_") or "_"), value)


def _set(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    if path[-1] not in document:
        document[path[-1]] = value
    else:  # two fields that differ in case or in leading underscores alone
        before = document[path[-1]]
        document[path[-1]] = [*(before if isinstance(before, list) else [before]), value]


def _value(given: Any) -> Any:
    """A text, a list of texts, or None for what is too large."""
    if isinstance(given, list) and not _is_bytes(given):
        return [text for item in given if (text := _text(item)) is not None]
    return _text(given)


def _text(given: Any) -> str | None:
    if _is_bytes(given):
        return bytes(given).decode("utf-8", "backslashreplace")
    return given if given is None or isinstance(given, str) else encoded(given).decode()


def _is_bytes(given: Any) -> bool:
    return isinstance(given, list) and all(type(it) is int and 0 <= it <= 255 for it in given)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _timestamp(microseconds: Any, now: dt.datetime) -> str:
    if isinstance(microseconds, str) and _is_number(microseconds):
        try:
            instant = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
                microseconds=int(microseconds)
            )
        except OverflowError:
            return format_timestamp(now)
        return format_timestamp(instant)
    return format_timestamp(now)


def _dump(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document) + b"\n"
