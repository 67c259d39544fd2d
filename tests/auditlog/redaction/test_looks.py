from __future__ import annotations

import base64

import pytest

from auditlog.redaction.looks import (
    basic_credentials,
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
