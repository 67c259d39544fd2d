from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.redaction import visible
from auditlog.redaction.visible import DECEIVES, bare, escaped, reveal, reveal_all, sequences
from tests.support.secrets import SEQUENCES, STRANGE_TEXTS, UNSAFE

_TEXTS = st.one_of(
    STRANGE_TEXTS,
    st.lists(
        st.sampled_from(
            [
                "\\",
                "\\u202e",
                "\\u005c",
                "\\U000e0041",
                "\U000e0041",
                "\u200d",
                "a",
                "é",
                "👩",
                *UNSAFE,
            ]
        ),
        max_size=8,
    ).map("".join),
)


@given(_TEXTS)
def test_harmless(text: str) -> None:
    assert re.search(DECEIVES, escaped(text)) is None


@given(_TEXTS)
def test_reversible(text: str) -> None:
    assert reveal(escaped(text)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31;1mb", r"a\u001b[31;1mb"),
        ("a\x9b31mb", r"a\u009b31mb"),
        ("red\u202egnp", r"red\u202egnp"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\U000e0041", r"a\U000e0041"),
        (r"a\u202e", r"a\u005cu202e"),
        (r"C:\users\u00e9", r"C:\users\u00e9"),
        ("a\tb\r\nc", "a\tb\r\nc"),
        ("größe 模型 👍🏽 👩\u200d💻 می\u200cخواهم", "größe 模型 👍🏽 👩\u200d💻 می\u200cخواهم"),
        ("ad\u200dmin", r"ad\u200dmin"),
    ],
)
def test_what_deceives_is_written_out_and_nothing_else_is(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize("sequence", [*SEQUENCES, "\u200b", "\x00"])
def test_bare_text_is_what_a_terminal_shows(sequence: str) -> None:
    text = f"ab{sequence}cd"
    shown = bare(text)
    assert sequences(text)
    assert shown.text == "abcd"
    assert shown.place(1, 3) == (1, len(text) - 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\uffa0", r"a\uffa0"),
        ("a\U000e0000", r"a\U000e0000"),
        ("a\u200c", r"a\u200c"),
        (r"a\U00110000", r"a\U00110000"),
        (r"a\U0010ffff", r"a\U0010ffff"),
        (r"a\U00000041", r"a\U00000041"),
    ],
)
def test_reversible_at_the_ends_of_each_range(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert reveal(shown) == text


def test_reversible_in_every_text_and_key_of_a_value() -> None:
    shown = {r"k\u202e": [r"a\u0000", 1, None, {"b": r"c\u200b"}]}
    assert reveal_all(shown) == {"k\u202e": ["a\x00", 1, None, {"b": "c\u200b"}]}


def test_bare_text_knows_the_place_of_each_character_behind_several_sequences() -> None:
    text = "a\x1b[1mb\x1b[0mc\u200bd"
    shown = bare(text)
    assert shown.text == "abcd"
    assert [text[slice(*shown.place(at, at + 1))] for at in range(4)] == list("abcd")


def test_what_is_remembered_of_characters_is_bounded() -> None:
    for code in range(0x4E00, 0x4E00 + 8192):
        assert escaped(chr(code)) == chr(code)
    assert len(visible._VISIBLE) == 4096
