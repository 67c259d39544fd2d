from __future__ import annotations

import pytest

from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.pairs import find_pairs
from auditlog.redaction.secret_values import Hit

_RANDOM = "Zk3jQ9wLxP2vR7tY"


def _found(text: str) -> list[tuple[str, str]]:
    hits: list[Hit] = []
    find_pairs(text, meaning, hits)
    return [(text[start:end], rule) for start, end, rule in sorted(hits)]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("password=hunter33y", ["hunter33y"]),
        ("password: hunter33y, x=1", ["hunter33y"]),
        ("password:hunter33y", ["hunter33y"]),
        ('{"password": "hunter33y", "x": 1}', ["hunter33y"]),
        ("password => 'hunter33y'", ["hunter33y"]),
        ("password := hunter33y", ["hunter33y"]),
        ("x?password%3Dhunter33y", ["hunter33y"]),
        ("password=hunter33y%", ["hunter33y%"]),
        ("the db password: hunter33y", ["hunter33y"]),
        ("password: swordfish", ["swordfish"]),
        # behind a line that ends, or begins a block
        ("password: |\n  hunter33y", ["hunter33y"]),
        ("password: >-\r\n  hunter33y", ["hunter33y"]),
        # a value in quotes is one, whatever is in it
        ('password="a=b1"', ["a=b1"]),
        ('password="Bearer hunter33y"', ["Bearer hunter33y"]),
        # a number of JSON without what follows it
        ('{"password":123456,"n":1.50}', ["123456"]),
        ('{"n":[{"password":-1.5e3}]}', ["-1.5e3"]),
        ("{'password': 123456 , 'n': 1}", ["123456"]),
        (r"{\"password\":123456,\"n\":1}", ["123456"]),
        ('{"password":123456,"passwd":234567}', ["123456", "234567"]),
        ("password=123456,x}", ["123456,x}"]),
        ('"password":123456x,y', ["123456x,y"]),
        # the members of a list, and not what follows it
        ('passwords=["hunter33y", "hunter44z"]', ["hunter33y", "hunter44z"]),
        ('passwords=["hunter33y","hunter44z"]', ["hunter33y", "hunter44z"]),
        ('passwords=["hunter33y"', ["hunter33y"]),
        ("passwords=[b'hunter33y'] \"x1y2z3\"", ["hunter33y"]),
    ],
)
def test_found(text: str, secrets: list[str]) -> None:
    assert _found(text) == [(secret, "password") for secret in secrets]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"token:{_RANDOM}", [(_RANDOM, "token")]),
        ("api_key: a3F2c1zz9", [("a3F2c1zz9", "key")]),
        # a scope stands directly behind a colon
        (f"token: read:{_RANDOM}", [(f"read:{_RANDOM}", "token")]),
        (f"token=read:{_RANDOM}", [(f"read:{_RANDOM}", "token")]),
        # numbers in groups
        ("card_number: 4111 1111 1111 1111 x", [("4111 1111 1111 1111", "card")]),
        ("card_number_blue: 4111-1111-1111-1111 x", [("4111-1111-1111-1111", "card")]),
        ("iban: DE89 3704 0044 0532 0130 00 of al", [("DE89 3704 0044 0532 0130 00", "iban")]),
        ("iban=DE89370400440532013000", [("DE89370400440532013000", "iban")]),
        # a question has no value, and what follows it is looked at
        ("prompt: tell password=hunter33y", [("hunter33y", "password")]),
    ],
)
def test_found_by_its_kind(text: str, found: list[tuple[str, str]]) -> None:
    assert _found(text) == found


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("Authorization: Bearer hunter33y", ["hunter33y"]),
        ("Authorization: Bearer swordfish", ["swordfish"]),
        ('"authorization": "Bearer hunter33y"', ["hunter33y"]),
        # of some schemes the whole line, of an unknown one a word
        ("Authorization: Digest a=b, c=d\nx", ["Digest a=b, c=d"]),
        ("Authorization:Digest a=b, c=d", ["Digest a=b, c=d"]),
        ("authorization = Digest a=b, c=d", ["Digest a=b, c=d"]),
        ("authorization=Digest a=b", ["Digest"]),
        ("Authorization: k3J9xQ2mZ7 next", ["k3J9xQ2mZ7"]),
        ("Authorization: a=b1 next", ["a=b1"]),
        ("Authorization: SWORDFISH", ["SWORDFISH"]),
        # statements
        ("credentials: swordfish were given", []),
        ("Authorization: NOT REQUIRED", []),
        ("Authorization: none", []),
        ("Authorization: [redacted:credentials]", []),
        ("Authorization: ****", []),
        ("Authorization: 401.", []),
        ("Authorization: ", []),
        # as far as a statement is read
        (f"Authorization: {'NOT ' * 19}NONE", []),
    ],
)
def test_found_in_a_header_of_credentials(text: str, secrets: list[str]) -> None:
    assert _found(text) == [(secret, "credentials") for secret in secrets]


@pytest.mark.parametrize("value", ["NOT REQUIRED", "; x", "401", "swordfish"])
def test_found_behind_a_header_that_has_no_credentials(value: str) -> None:
    assert _found(f"Authorization: {value} password=hunter33y") == [("hunter33y", "password")]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("Cookie: a=b1; c=d2", ["b1", "d2"]),
        ("Cookie:a=b1; c=d2\nx=y", ["b1", "d2"]),
        ('Cookie: "a=b1; c=d2"', ["b1", "d2"]),
        ('Cookie: "k3J9xQ2mZ7"', ["k3J9xQ2mZ7"]),
        ("Cookie: k3J9xQ2mZ7 next", ["k3J9xQ2mZ7"]),
        # a parameter is no header
        ("cookie=a=b1; path=/", ["a=b1"]),
    ],
)
def test_found_in_a_cookie(text: str, secrets: list[str]) -> None:
    assert _found(text) == [(secret, "cookie") for secret in secrets]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (f"/x?key={_RANDOM}&y=1", [_RANDOM]),
        (f"/x?key={_RANDOM}&sig=1&sid={_RANDOM}", [_RANDOM, _RANDOM]),
        # the percent sign of what is encoded belongs to the character before the key
        (f"%26key%3D{_RANDOM}", [_RANDOM]),
        # such a key means a secret in a query alone, and only with a random value
        (f"(key={_RANDOM}", []),
        (f"key={_RANDOM}?", []),
        (f"/x?x={_RANDOM}", []),
        ("/x?key=name", []),
    ],
)
def test_found_as_a_parameter(text: str, secrets: list[str]) -> None:
    assert _found(text) == [(secret, "url_parameter") for secret in secrets]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # words that make a secret of the last
        ("social security number: 123-45-6789", [("123-45-6789", "identity_number")]),
        ("one time pass code: 482913", [("482913", "otp")]),
        (f"password{'a' * 16} value: hunter33y", [("hunter33y", "password")]),
        # words that make a fact of it, directly before it
        (f"n tokens={_RANDOM}", []),
        ("has passphrase=hunter33y", []),
        # they are words, with one blank between them, and not too long
        (f"api,key={_RANDOM}", []),
        ("social,security number: 123-45-6789", []),
        (f"password{'a' * 17} value: hunter33y", []),
    ],
)
def test_found_by_the_words_before_the_key(text: str, found: list[tuple[str, str]]) -> None:
    assert _found(text) == found


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        (f"max_{'a' * 54}_tokens", True),  # 65, so it is judged without its m
        (f"b_max_{'a' * 53}_tokens", False),  # 66, of which the last 64 are max_…
        (f"max_{'a' * 53}_tokens", False),
    ],
)
def test_a_key_is_judged_by_its_last_64_characters(key: str, secret: bool) -> None:
    assert _found(f"{key}={_RANDOM}") == [(_RANDOM, "token")] * secret


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ('name="password" value="hunter33y"', ["hunter33y"]),
        ('name="pw" value="hunter33y"', ["hunter33y"]),
        (f'{"see " * 20}name="password" value="hunter33y"', ["hunter33y"]),
        # a name is one word of at most 64 characters
        (f'name="{"a" * 55}_password" value="hunter33y"', ["hunter33y"]),
        (f'name="{"a" * 56}_password" value="hunter33y"', []),
        ('name="the password" value="hunter33y"', []),
        ('name="pool" value="a"', []),
        # its value stands within 600 characters
        (f'name=b"password"{" " * 599}value="hunter33y"', ["hunter33y"]),
        (f'name=b"password"{" " * 600}value="hunter33y"', []),
        # or in its element, or behind the head of its part of a form
        ('<input name="password">hunter33y</input>', ["hunter33y"]),
        ('<input name="password">value33y</input>', ["value33y"]),
        ('<input name="password">[redacted:password]</input>', []),
        ('<input name="password" value="hunter33y">login<', ["hunter33y"]),
        ('<input name="password">  <b\n\nhunter33y', ["hunter33y"]),
        ('form-data; name="password"\r\n\r\nhunter33y\r\n--b--', ["hunter33y"]),
        ('form-data; name="password"\r\n\r\nhunter33y', ["hunter33y"]),
        ('form-data; name="password"\r\n\r\n', []),
    ],
)
def test_found_by_the_name_of_another_pair(text: str, secrets: list[str]) -> None:
    assert _found(text) == [(secret, "password") for secret in secrets]


@pytest.mark.parametrize(
    "text",
    [
        # a word about the secret
        "token: expired",
        "token: swordfish",
        "password: changed by admin",
        "password: not valid",
        "password: rolling",
        "password=changed",
        "token%3Dexpired",
        "password:changed",
        "password:swordfish",
        f"password: {'not ' * 19}none",
        # a scope
        "scope:token:read",
        "token:a3f2c1",
        f"token:read:{_RANDOM}",
        # nothing, or nothing on its line
        "password=",
        "password=\nhunter33y",
        "password:|hunter33y",
        "password:\n",
        "password:\n  next line",
        # a directory, a count
        "pwd=/home/alice",
        "OLDPWD=~/src",
        "token_count=12",
        '{"tokens":4711,"n":1}',
        # a key of unsure meaning, with a value that does not look like a secret
        "token_blue: ab1",
        "token_blue: 12-34-56",
    ],
)
def test_kept(text: str) -> None:
    assert _found(text) == []
