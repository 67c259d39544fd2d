from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.redaction.secret_text import fingerprint, fingerprint_credentials, redact, suspicious
from tests.support.secrets import HIDDEN, SECRETS, STANDING_ALONE, STRANGE_TEXTS, WORDS


@given(HIDDEN)
def test_found(hidden: tuple[str, str]) -> None:
    secret, text = hidden
    assert secret not in redact(text)
    assert suspicious(text)


@pytest.mark.parametrize(
    "text",
    [
        "task-000123",
        "task-4f1f6d0c-9b1f-4e43-8f5c-0c9a1b2c3d4e",
        "a" * 40,
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # a git commit
        "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "alice@example.org",
        "http://host:8080/path?mail=a@example.org",
        "https://example.org/~bob/x",
        "invalid token: expired",
        "password: required",
        "bearer token missing",
        "Basic authentication failed",
        "token_count=12 max=3",
        "session_id=abc",
        "token:a3f2c1",
        "meta-llama/Llama-3.1-8B-Instruct",
        "2026-11-23T07:12:00.123456Z",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "risk-assessment-of-a-long-name",
        "sk-short",
        "eyJ",
        "sha256:0123456789ab",
        "password=sha256:0123456789ab",
        "authorization: sha256:0123456789ab",
        "x://u:sha256:0123456789ab@h",
        "password=",
        "password=''",
    ],
)
def test_kept(text: str) -> None:
    assert redact(text) == text


def test_only_the_secret_part_of_a_text_is_replaced() -> None:
    for text in (
        "see postgres://bob:{}@db:5432/x for more",
        "Authorization: Bearer {}",
        '{{"Authorization": "Bearer {}", "path": "/x"}}',
        "GET /v1?access_token={}&x=1",
        "run --password {} now",
        "api_key='{}', x=1",
        'api_key="{}", x=1',
        "got bearer {} from 10.0.0.7",
    ):
        secret = "hunter2-and-more"
        assert redact(text.format(secret)) == text.format(fingerprint(secret))


@given(STANDING_ALONE, WORDS, WORDS)
def test_stable(secret: str, before: str, after: str) -> None:
    print_of_it = fingerprint(secret)
    assert redact(secret) == print_of_it
    assert redact(f"{before} {secret} {after}") == f"{before} {print_of_it} {after}"
    assert fingerprint_credentials(secret) == print_of_it
    assert fingerprint_credentials(f"Bearer {secret}") == f"Bearer {print_of_it}"


def test_a_fingerprint_is_the_start_of_the_secrets_sha256() -> None:
    assert fingerprint("hunter2") == "sha256:f52fbd32b2b3"


def test_a_fingerprint_is_not_taken_for_a_secret() -> None:
    assert fingerprint_credentials("sha256:f52fbd32b2b3") == "sha256:f52fbd32b2b3"
    assert fingerprint_credentials("Bearer sha256:f52fbd32b2b3") == "Bearer sha256:f52fbd32b2b3"


def test_a_pair_inside_a_secret_is_part_of_it() -> None:
    whole = fingerprint("token=abc9")
    assert redact("password=token=abc9 x=1") == f"password={whole} x=1"
    assert redact("a=password=abc9") == f"a=password={fingerprint('abc9')}"


def test_a_key_that_was_cut_off_is_hidden_up_to_the_end() -> None:
    assert redact("x -----BEGIN RSA PRIVATE KEY-----\nMIIEow").startswith("x sha256:")
    assert "hunter" not in redact('{"password": "hunter 2')
    assert "hunter" not in redact(r'{"password": "a\"hunter 2"}')


def test_credentials_that_are_no_base64_are_prose() -> None:
    assert redact("Basic A") == "Basic A"


@given(st.one_of(STRANGE_TEXTS, SECRETS.map(lambda pair: pair[1]), st.text()))
def test_fast_path(text: str) -> None:
    if not suspicious(text):
        assert redact(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ", "://a:b", "a.", "\x9d", "-----BEGIN PRIVATE KEY-----", "password ", "a=", "--a ",
        "sk-", "authorization:", "bearer ", "basic ", "AKIA", "aA1", "'", "cookie='", "a: ",
        "ghp_", "@://", "x" * 64 + " " * 900,
    ],
)  # fmt: skip
def test_a_hostile_text_of_the_longest_length_hides_nothing(piece: str) -> None:
    """And is done soon: a pattern that looked at it once per character would take minutes."""
    text = (piece * 65_535)[:65_000] + "\n@=:-- bearer basic eyJ authorization\npassword=hunter9xyz"
    assert "hunter9xyz" not in redact(text)
