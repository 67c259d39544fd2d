from __future__ import annotations

import datetime as dt
import doctest
import io
import json
import re
import sys
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.output import render
from auditlog.format.record import GENESIS_HASH, decode, log_prefix, seal
from auditlog.redaction.visible import reveal
from tests.support.logs import make_line, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(render).failed == 0


def test_plain_without_a_terminal_or_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert render.paint("x", "red") == "x"
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert render.paint("x", "red") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert render.paint("x", "red") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert render.paint("x", "red") == "x"


TEXTS = st.text() | st.sampled_from(["\x1b[2J", "a\u202eb", "x\ny", "\x9b31m", "\u2066"])


@given(user=TEXTS, reason=TEXTS, key=TEXTS, value=TEXTS, kind=TEXTS)
def test_harmless(user: str, reason: str, key: str, value: str, kind: str) -> None:
    line, _ = make_line(
        "queen-rbee@hive1",
        1,
        actor={"user_id": user},
        resource={"resource_type": kind, "resource_id": value},
        outcome=reason or "failure",
        reason=reason,
        severity=kind,
        details={key: value, "nested": {key: [value]}},
    )
    assert render.record_line(decode(line)).isprintable()


@given(room=st.integers(60, 200), user=st.text(max_size=90), value=st.text(max_size=90))
def test_fits(room: int, user: str, value: str) -> None:
    line, _ = make_line("queen-rbee@hive1", 1, actor={"user_id": user}, details={"key": value})
    whole = render.record_line(decode(line))
    shown = render.record_line(decode(line), room)
    assert len(shown) <= room
    if len(whole) <= room:
        assert shown == whole
    else:
        assert shown[-1] == "\u2026"
        assert whole.startswith(shown[:-1].rstrip())


def test_fits_at_every_width() -> None:
    line, _ = make_line("queen-rbee@hive1", 1, reason="x y", details={"a": 1, "key": "value"})
    whole = render.record_line(decode(line))
    assert len(whole) > 60
    for room in range(60, len(whole)):
        shown = render.record_line(decode(line), room)
        assert shown == render.cut(whole, room)


def test_every_value_of_a_record_has_a_line_in_a_block() -> None:
    line, _ = make_line("queen-rbee@hive1", 1, details={"a": {"b": "\x1b[2J"}, "c": [1], "d": ""})
    first, *rest = render.record_block(decode(line))
    assert "task_submitted" in first
    assert r"    details.a.b        \u001b[2J" in rest
    assert "    details.c          [1]" in rest
    assert '    details.d          ""' in rest


@pytest.mark.parametrize("levels", [300, 900])
def test_a_record_is_shown_however_deep_it_is(levels: int) -> None:
    mapping = b'{"a":' * levels + b'"deepest"' + b"}" * levels
    listed = b"[" * levels + b"1" + b"]" * levels
    body = b'"event_type":"x","details":{"x":%b,"y":%b}' % (mapping, listed)
    at = "2026-11-23T07:12:00.000000Z"
    line, _ = seal(log_prefix("queen-rbee@hive1"), 1, GENESIS_HASH, at, body)
    assert "y=[[[" in render.record_line(decode(line))
    block = render.record_block(decode(line))
    assert any(shown.split() == ["details.x" + ".a" * levels, "deepest"] for shown in block)


@pytest.mark.parametrize(
    ("columns", "terminal", "room"), [("80", False, 80), ("20", False, 60), ("", False, None)]
)
def test_the_width_is_the_terminals_or_columns_and_at_least_60(
    columns: str, terminal: bool, room: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert render.width() == room


def test_bars_are_as_long_as_their_value_and_ascii_where_that_is_all_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [len(render.bar(value, 8, 4)) for value in (0, 1, 4, 8)] == [0, 1, 2, 4]
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert [render.bar(value, 8, 4) for value in (0, 1, 8)] == ["", "#", "####"]
    assert render.cut("abcdefgh", 5) == "ab..."
    render.print_line("gr\u00fcn")
    ascii_only.flush()
    assert ascii_only.buffer.getvalue() == b"gr?n\n"  # type: ignore[attr-defined]  # a BytesIO


@pytest.mark.parametrize("fields", [{"actor": None}, {"actor": "x"}, {"resource": [1]}])
def test_a_record_with_members_of_another_shape_is_shown_all_the_same(
    fields: dict[str, object],
) -> None:
    line, _ = make_line("queen-rbee@hive1", 7, **fields)  # type: ignore[arg-type]  # any JSON is legal there
    assert "queen-rbee@hive1#7 task_submitted" in render.record_line(decode(line))


def test_a_record_that_is_no_json_inside_is_shown_as_that() -> None:
    prefix = log_prefix("queen-rbee@hive1")
    timestamp = "2026-11-23T07:12:00.000000Z"
    line, _ = seal(prefix, 1, GENESIS_HASH, timestamp, b'"event_type":"x","a":\xff\x1b')
    assert render.record_line(decode(line)).endswith("x not valid JSON")


def test_a_record_is_one_line_with_when_where_what_who_and_how() -> None:
    line, _ = make_line(
        "queen-rbee@hive1",
        7,
        event_type="auth_failure",
        outcome="failure",
        reason="wrong password",
        severity="warning",
        resource={"resource_type": "pool", "resource_id": "p-1"},
        details={"tries": 3, "from": "a b"},
    )
    assert render.record_line(decode(line)) == (
        "2026-11-23 07:12:00.000Z queen-rbee@hive1#7 auth_failure[warning] alice pool/p-1 "
        'failure: wrong password tries=3 from="a b"'
    )


def test_json_is_one_line_in_a_pipe_and_indented_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    render.print_json({"a": [1]}, indent=True)
    assert capsys.readouterr().out == '{"a":[1]}\n'
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    render.print_json({"a": [1]}, indent=True)
    assert terminal.getvalue().count("\n") > 1
    assert orjson.loads(terminal.getvalue()) == {"a": [1]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s ago"), (0, "0 s ago"), (119, "119 s ago"), (121, "2 m ago"), (7200, "2 h ago"),
     (86400, "24 h ago"), (200000, "2 d ago")],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert render.since(dt.timedelta(seconds=seconds)) == text


WORDS = st.text(st.sampled_from("ab /-"), max_size=90)


@given(text=WORDS, painted=st.booleans(), room=st.integers(6, 40))
def test_whole(text: str, painted: bool, room: int) -> None:
    shown = f"\x1b[31mFAILED\x1b[0m {text}" if painted else text
    lines = render.wrapped(shown, room)
    assert " ".join(lines).split() == shown.split()
    for line in lines:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        assert len(plain) <= room or len(plain.split()) <= 1
    assert render.wrapped(shown, None) == [shown]


@pytest.mark.parametrize("columns", [60, 80])
def test_whole_in_what_commands_say(
    tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "audit", "rbee-hive@gpu-1.example.org+2", records=5, segments=2, days=1)
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (
        ("ship", "audit", "--to", "a.sqlite", "--once"),
        ("verify", "audit"),
        ("reconcile", "audit", "--to", "a.sqlite"),
        ("prune", "audit", "--dry-run", "--at", "2027-03-01T00:00:00Z"),
    ):
        lines = run(*arguments).out.splitlines()
        assert lines
        for line in lines:
            assert len(line) <= columns or len(line.split()) == 1


HOSTILE = "a\x1b[2Jb\u202ec\u200bd\U000e0041e\x9bf\rg"


def test_what_deceives_is_shown_as_an_escape_that_can_be_read_back() -> None:
    shown = render.clean(HOSTILE)
    assert shown == r"a\u001b[2Jb\u202ec\u200bd\U000e0041e\u009bf\rg"
    assert reveal(shown) == HOSTILE.replace("\r", r"\r")


def test_no_message_and_no_line_reaches_the_terminal_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render.say(HOSTILE)
    render.print_line(f"\x1b[31m{HOSTILE}\x1b[0m\tand\nmore")
    out, err = capsys.readouterr()
    assert err == r"a\u001b[2Jb\u202ec\u200bd\U000e0041e\u009bf\rg" + "\n"
    assert out.startswith("\x1b[31ma\\u001b[2Jb")
    assert out.endswith("\x1b[0m\tand\nmore\n")


def test_json_on_a_terminal_has_the_same_value_and_nothing_that_deceives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = orjson.dumps({"name": HOSTILE}) + b"\n"
    for show in (lambda: render.print_raw(raw), lambda: render.print_json({"name": HOSTILE})):
        written = io.BytesIO()
        terminal = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdout", terminal)
        show()
        terminal.flush()
        monkeypatch.undo()
        text = written.getvalue().decode()
        assert json.loads(text) == {"name": HOSTILE}
        assert text.removesuffix("\n").isprintable()
