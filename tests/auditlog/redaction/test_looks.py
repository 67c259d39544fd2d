from __future__ import annotations

import base64

import pytest

from auditlog.redaction.looks import (
    basic_credentials,
    changes,
    guessed_password,
    is_fact,
    is_masked,
    is_redacted,
    looks_random,
    strong,
)


@pytest.mark.parametrize(
    "text",
    [
        *("checkpoint-0000042-of-0000100", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        *("4f1f6d0c-9b1f-4e43-8f5c-0c9a1b2c3d4e", "Models/Llama3/Instruct/Checkpoint0000042"),
        *("2026-11-23T07:12:00Z", "https://example.org/a1B2c3D4e5F6", "v1.2.3-beta.4+build.567"),
    ],
)
def test_names(text: str) -> None:
    assert not looks_random(text)


@pytest.mark.parametrize(
    "text", ["Zk3jQ9wLxP2vR7tY", "0LRYqShqY360LbNHAKzHKHvKdbA6Em2B", "a1b2C3d4-E5f6G7h8"]
)
def test_random(text: str) -> None:
    assert looks_random(text)


def test_a_password_is_not_strong_and_a_token_is() -> None:
    assert not strong("correct horse battery staple")
    assert not strong("hunter2")
    assert not strong("aaaaaaaaaaaaaaaaaaaaaaaaaaaa1")
    assert strong("0LRYqShqY360LbNHAKzHKHvKdbA6Em2B")


@pytest.mark.parametrize(
    ("plain", "bare", "after_scheme"),
    [
        ("alice:s3cret-pw", True, True),
        ("User:12345", False, True),
        ("alice:abc", False, True),
        ("no colon here", False, False),
    ],
)
def test_credentials_in_base64(plain: str, bare: bool, after_scheme: bool) -> None:
    encoded = base64.b64encode(plain.encode()).decode()
    assert basic_credentials(encoded, after_scheme=False) is bare
    assert basic_credentials(encoded, after_scheme=True) is after_scheme


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a1B2c3D4e5F6g7H", False),  # 15 characters
        ("a1B2c3D4e5F6g7H8", True),
        ("aBcDeFgHiJkLmNoP", False),  # no digit
        ("0123456789abcdef", False),
        ("0123456789ABCDEF", False),
        ("0123456789abcdeF", False),  # one change of twelve, and not hexadecimal of one case
        ("a1B2c3D4 e5F6g7H8", False),
        ("s://a1B2c3D4e5F6g7H8", False),
        ("2026-11-23-a1B2c3D4e5F6g7H8", False),
        ("a1B2c3D4e5F6----", True),  # three quarters are letters and digits
        ("a1B2c3D4e5F-----", False),
        ("abcabcABCABC0123456a", False),
    ],
)
def test_random_is_mixed_and_mostly_letters_and_digits(text: str, expected: bool) -> None:
    assert looks_random(text) is expected


def test_random_may_be_asked_of_shorter_texts() -> None:
    assert looks_random("a1B2c3D4", least=8)
    assert not looks_random("a1B2c3D4", least=9)


def test_random_needs_three_changes_in_ten_characters() -> None:
    assert looks_random("aaaBBB111cccDDDeee11")  # 6 changes, 20 characters
    assert not looks_random("aaaBBB111cccDDDeee111")
    assert changes("aB1") == changes("1aB") == 2
    assert changes("aaa-BBB") == 0


def test_only_the_beginning_of_a_long_text_is_judged() -> None:
    assert looks_random("a1B2" * 128 + "-" * 9999)
    assert not looks_random("ab" * 256 + "1" * 100)
    assert changes("a1" * 256 + "a1" * 99) == 511


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a1B2c3D4e5F6g7H8i9J", False),  # 19 characters
        ("a1B2c3D4e5F6g7H8i9Jk", True),
        ("a1B2c3D4 e5F6g7H8i9Jk", False),
        ("a1b2c3d4a1b2c3d4a1b2", False),  # eight different characters
        ("a1b2c3d4ia1b2c3d4i1b", False),  # nine
        ("a1b2c3d4ija1b2c3d4ij", True),
        ("0123456789abcdef" * 2, True),
        ("0123456789abcdef" * 2 + "0", True),
        (("0123456789abcdef" * 2)[:-1], False),
        ("abcdefghijklmnopqrstuvwx", False),  # no digit
        ("abcdefghij1klmnopqrst", False),  # two changes
        ("abcdefg1hijk2lmnopqrst", True),  # four
        ("abcdefg1hijklmnopqrst2", False),  # three
    ],
)
def test_strong_is_long_varied_and_mixed(text: str, expected: bool) -> None:
    assert strong(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hunt3", False),  # five characters
        ("hunt33", True),
        ("hunter", False),
        ("/hunt33", False),
        ("~hunt33", False),
        ("h://unt33", False),
        ("a1b2c3", False),
        ("2026-11-23x", False),
        ("123!56", False),
        ("hunt 33", False),
        ("hunt/33", True),
    ],
)
def test_a_short_text_with_letters_and_digits_may_be_a_password(text: str, expected: bool) -> None:
    assert guessed_password(text) is expected


def test_a_password_is_looked_for_in_the_first_64_characters() -> None:
    assert guessed_password("x" * 63 + "1")
    assert not guessed_password("x" * 64 + "1")
    assert guessed_password("x1" * 32 + " ")
    assert not guessed_password("x1" * 31 + "x ")
    assert guessed_password("_1" * 31 + "_x")
    assert not guessed_password("_1" * 32 + "x")
    assert not guessed_password("x" * 54 + "2026-11-23")
    assert guessed_password("x" * 55 + "2026-11-23")


@pytest.mark.parametrize(
    ("plain", "bare"),
    [
        ("alice:s3cr!", False),  # five characters
        ("alice:s3cr!t", True),
        ("alice:hunter", False),
        ("alice:hunt33", True),
        ("Alice:s3cr!t", False),
        ("aLICE:s3cr!t", True),
        ("alice:s3cr t", False),
        ("alicé:s3cr!t", False),
    ],
)
def test_bare_credentials_need_a_name_and_a_password(plain: str, bare: bool) -> None:
    encoded = base64.b64encode(plain.encode()).decode()
    for text in (encoded, encoded.rstrip("=")):
        assert basic_credentials(text, after_scheme=False) is bare
        assert basic_credentials(text, after_scheme=True) is True


def test_credentials_are_read_in_the_alphabet_for_urls_too() -> None:
    plain = b"al:\xfb\xff\xfe"
    encoded = base64.urlsafe_b64encode(plain).decode()
    assert "-" in encoded
    assert "_" in encoded
    assert basic_credentials(encoded, after_scheme=True)
    assert basic_credentials(base64.b64encode(plain).decode(), after_scheme=True)


@pytest.mark.parametrize("encoded", ["", "a", "!!!!", "YTpi YTpi", "é"])
def test_what_is_not_base64_is_no_credentials(encoded: str) -> None:
    assert basic_credentials(encoded, after_scheme=True) is False
    assert basic_credentials(encoded, after_scheme=False) is False


def test_credentials_have_at_most_1024_characters() -> None:
    longest = base64.b64encode(b"a:" + b"x" * 766).decode()
    assert len(longest) == 1024
    assert basic_credentials(longest, after_scheme=True) is True
    assert basic_credentials(longest + "YQ==", after_scheme=True) is False


def test_what_stands_for_a_secret_has_at_most_a_hundred_characters() -> None:
    assert is_masked("*" * 100)
    assert not is_masked("*" * 101)
    assert is_masked("$TOKEN")
    assert not is_masked("$token")


def test_a_decision_stands_at_the_beginning_and_is_not_long() -> None:
    assert is_fact("was " * 19 + "set")
    assert not is_fact("was " * 20 + "set")


def test_what_stands_for_a_secret_is_none() -> None:
    assert all(map(is_masked, ["***", "xxxx", "null", "${TOKEN}", "<redacted>", "{{ pw }}"]))
    assert not any(map(is_masked, ["hunter2", "x1x", "secret"]))
    assert all(
        map(is_redacted, ["hmac-sha256:0123456789ab", "sha256:0123456789ab", "[redacted:pin]"])
    )
    assert not is_redacted("sha256:0123456789abcdef")


def test_a_decision_is_a_fact() -> None:
    assert all(map(is_fact, ["denied", "granted by bob", "was changed", "expired."]))
    assert not any(map(is_fact, ["denied2", "hunter2", "bob"]))


def test_changes_are_between_ascii_digits_and_letters() -> None:
    assert [changes(f"a{c}") for c in "09AZ"] == [1, 1, 1, 1]
    assert [changes(f"0{c}") for c in "azAZ"] == [1, 1, 1, 1]
    assert [changes(f"{a}{c}") for a in "aA0" for c in "/:@[`{"] == [0] * 18


def test_a_decision_ends_within_80_characters() -> None:
    assert is_fact("was " * 19 + "null")
    assert not is_fact("was " * 19 + "unset")


def test_random_has_a_digit_and_no_date_at_its_beginning() -> None:
    assert looks_random("aB" * 255 + "a1")
    assert not looks_random("aB" * 256 + "1")
    assert looks_random("1aBcDeFgHiJkLmNo")
    dated = "aB1c" * 13 + "aB2026-11-23"
    assert not looks_random(dated)
    assert looks_random(dated.replace("aB2026", "aBx2026"))


def test_strong_is_judged_by_the_first_256_characters() -> None:
    nine = ("a1b2c3d4e" * 29)[:255]
    assert strong(nine + "Z")
    assert not strong(nine + "eZ")
    letters = ("aBcDeFgHiJ" * 26)[:255]
    assert strong(letters + "1")
    assert not strong(letters + "x1")


def test_a_password_may_have_its_digit_or_its_letter_at_the_beginning() -> None:
    assert guessed_password("1hunter")
    assert guessed_password("x12345!")
    assert not guessed_password(" hunt33")


def test_a_sign_in_the_name_makes_no_password() -> None:
    encoded = base64.b64encode(b"a.b:hunter").decode()
    assert basic_credentials(encoded, after_scheme=False) is False
