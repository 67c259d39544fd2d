from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given

from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.rules import DEFAULT_CLASSES
from auditlog.redaction.text_search import TextSearch
from tests.support.secrets import HIDDEN

_SEARCH = TextSearch(meaning, DEFAULT_CLASSES, {})
_PUTTY = "Private-Lines:{}Private-MAC: 0f"


def _without_hits(text: str) -> str:
    left = list(text)
    for start, end, _ in _SEARCH.find(text):
        left[start:end] = "*" * (end - start)
    return "".join(left)


@given(HIDDEN)
def test_found(hidden: tuple[str, str]) -> None:
    secret, text = hidden
    assert secret not in _without_hits(text)


@pytest.mark.parametrize(
    "text",
    [
        *("invalid token: expired", "password: changed by admin", "Basic authentication failed"),
        *("token_count=12 max=3", "session_id=abc", "token:a3f2c1", "pass: 12, fail: 3"),
        *(
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "password=",
            "password=''",
        ),
        *("http://[::1]:8080/a@b", "mailto://a:b@c", "std::token::read", "a=b", "pwd=/home/alice"),
    ],
)
def test_kept(text: str) -> None:
    assert _SEARCH.find(text) == []


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("postgres://a:hunter33y@db", {"url_password"}),
        ("password=hunter33y", {"password"}),
        ("Cookie: a=b; c=d", {"cookie"}),
        ("curl -u a:hunter33y x", {"command_line"}),
        ("pin: 4711", {"pin"}),
        ("/x?key=Zk3jQ9wLxP2vR7tY", {"url_parameter"}),
    ],
)
def test_a_hit_names_its_rule(text: str, rules: set[str]) -> None:
    assert {rule for _, _, rule in _SEARCH.find(text)} == rules


def _of(text: str, *classes: str) -> list[tuple[str, str]]:
    hits = TextSearch(meaning, frozenset(classes), {}).find(text)
    return [(text[start:end], rule) for start, end, rule in sorted(hits)]


def _armored(kind: str) -> str:
    """A PEM file in base64, as a secret of Kubernetes has it."""
    text = f"-----BEGIN {kind}-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END {kind}-----\n"
    return base64.b64encode(text.encode()).decode()


_BY_ONE_CLASS = [
    # the shortest token
    ("formats", "xoxb-1234567890a", [("xoxb-1234567890a", "slack_token")]),
    # each character without which there is no pair
    ("pairs", "password=hunter33y", [("hunter33y", "password")]),
    ("pairs", "password: hunter33y", [("hunter33y", "password")]),
    ("pairs", "password%3Dhunter33y", [("hunter33y", "password")]),
    ("urls", "x://bob:hunter33y@db", [("hunter33y", "url_password")]),
    # a credential outside of a header, without the end of the sentence
    ("headers", "bearer\thunter33y", [("hunter33y", "bearer")]),
    ("headers", "bearer\nhunter33y", [("hunter33y", "bearer")]),
    ("headers", "sent bearer hunter33y.", [("hunter33y", "bearer")]),
    ("headers", "bearer AbCdEfGhIjKlMnOp", [("AbCdEfGhIjKlMnOp", "bearer")]),
    ("headers", "bearer abcdefghijklmnopqrstuvwx", [("abcdefghijklmnopqrstuvwx", "bearer")]),
    ("headers", "sent basic Ym9iOmh1bnRlcjMzeQ==.", [("Ym9iOmh1bnRlcjMzeQ==", "basic")]),
    ("headers", "basic VXNlcjoxMjM0NQ==", [("VXNlcjoxMjM0NQ==", "basic")]),  # User:12345
    # a sentence
    ("pairs", "the code is 482913.", [("482913", "spoken")]),
    ("pairs", "the pin was 4711", [("4711", "spoken")]),
    ("pairs", "das Passwort ist hunter33y", [("hunter33y", "spoken")]),
    ("pairs", "Der Code lautet 482913", [("482913", "spoken")]),
    # SQL by its double quote, and by its clause
    ("sql", 'set password "hunter33y"', [("hunter33y", "password")]),
    ("sql", "set password 'hunter33y'", [("hunter33y", "password")]),
    ("sql", "create user bob identified by hunter33y", [("hunter33y", "password")]),
    ("commands", "mysql -phunter33y db", [("hunter33y", "command_line")]),
    # an element behind another, one of characters as they are, and one that has no end
    ("markup", "<user>bob</user><password>hunter33y</password>", [("hunter33y", "password")]),
    ("markup", "<password><![CDATA[hunter<33y]]></password>", [("hunter<33y", "password")]),
    ("markup", "<password>hunter33y", [("hunter33y", "password")]),
    # a private key in each form
    (
        "private_keys",
        "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- and more",
        [("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----", "private_key")],
    ),
    (
        "private_keys",
        "a -----BEGIN PRIVATE KEY-----\nMII",
        [("-----BEGIN PRIVATE KEY-----\nMII", "private_key")],
    ),
    ("private_keys", _PUTTY.format(" 1\nAAAA\n"), [(" 1\nAAAA\n", "private_key")]),
    ("private_keys", "x Private-Lines: 1\nAAAA", [(" 1\nAAAA", "private_key")]),
    *(
        ("private_keys", f"key {_armored(kind)} x", [(_armored(kind), "private_key")])
        for kind in ("PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY")
    ),
]


@pytest.mark.parametrize(("name", "text", "found"), _BY_ONE_CLASS)
def test_found_by_the_rules_of_one_class(
    name: str, text: str, found: list[tuple[str, str]]
) -> None:
    assert _of(text, name) == found
    assert _of(text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # words behind the name of a scheme
        ("headers", "bearer AbCdEfGhIjKlMnO"),
        ("headers", "bearer abcdefghijklmnopqrstuvw"),
        ("headers", "bearer of bad news"),
        ("headers", "bearer [redacted:bearer]"),
        ("headers", "bearer ********"),
        ("headers", "bearer expired?"),
        ("headers", "basic authentication"),
        # a sentence that tells no code
        ("pairs", "the password is swordfish"),
        ("pairs", "the pin is 471"),
        ("pairs", "the code is hmac-sha256:0123456789ab"),
        # an element for something else, and a directory
        ("markup", "<token_count>a3F2c1zz9</token_count>"),
        ("markup", "<pwd>/home/alice</pwd>"),
        # what is no private key
        ("private_keys", f"crt {_armored('CERTIFICATE')}"),
        ("private_keys", "-----BEGIN PUBLIC KEY-----\nPRIVATE\n-----END PUBLIC KEY-----"),
    ],
)
def test_kept_by_the_rules_of_one_class(name: str, text: str) -> None:
    assert _of(text, name) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("R-[0-9]+", ["R-1234", "R-5"]),  # all that matches
        ("R-([0-9]+)", ["1234", "5"]),  # its first group
        ("(?:R-([0-9]{3,})|R-5)", ["1234", "R-5"]),  # which need not take part
        ("(R)-([0-9]+)", ["R", "R"]),
        ("[0-9]*", ["1234", "5"]),  # nothing is not a secret
    ],
)
def test_found_by_a_pattern_of_the_policy(pattern: str, found: list[str]) -> None:
    text = "R-1234 or R-5"
    hits = TextSearch(meaning, frozenset(), {"room": re.compile(pattern)}).find(text)
    assert [(text[start:end], rule) for start, end, rule in hits] == [(s, "room") for s in found]


def test_only_the_secret_part_of_a_text_is_found() -> None:
    for text in (
        "see postgres://bob:{}@db:5432/x for more",
        "Authorization: Bearer {}",
        '{{"Authorization": "Bearer {}", "path": "/x"}}',
        "GET /v1?access_token={}&x=1",
        "run --password {} now",
        "api_key='{}', x=1",
        "got bearer {} from 10.0.0.7",
        "<password>{}</password>",
    ):
        secret = "hunter2-and-more"
        assert _without_hits(text.format(secret)) == text.format("*" * len(secret))


_PIECES = [
    "eyJ", "-eyJ", "://a:b", "://u:p@", "@://", "a.", "\x9d", "-----BEGIN PRIVATE KEY-----", "password ",
    "a=", "--a ", "sk-", "authorization:", "Authorization: ", "Cookie: ", "bearer ", "basic ", "AKIA", "aA1",
    "'", "cookie='", "a: ", "ghp_", "password: ", "pass:", "pass=a&", "?key=", "pwd=/", 'name="password" ',
    "curl -u a:b ", "mysql -p", "net ", "docker 'curl -x a' ", "redis-cli -h auth ", '\\"', "=",
    "insert into t (a) values (", "identified by ", "<a>", "{", "[", "x" * 64 + " " * 900,
]  # fmt: skip


@pytest.mark.parametrize("piece", _PIECES)
def test_linear(piece: str) -> None:
    """A pattern that looked at it once for every character would take minutes."""
    text = (piece * 65_535)[:65_000] + "\n@=:-- bearer basic eyJ authorization\npassword=hunter9xyz"
    assert "hunter9xyz" not in _without_hits(text)
