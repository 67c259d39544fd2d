from __future__ import annotations

import pytest

from auditlog.redaction.secret_keys import is_secret_key
from tests.support.secrets import HARMLESS_KEYS, SECRET_KEYS


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_key_that_names_a_secret_is_known(key: str) -> None:
    assert is_secret_key(key, numeric=False)


@pytest.mark.parametrize("key", HARMLESS_KEYS)
def test_about(key: str) -> None:
    assert not is_secret_key(key, numeric=False)


@pytest.mark.parametrize(
    "key", ["api_key", "API_KEY", "apiKey", "ApiKey", "api-key", "api.key", "my api key", "APIKey"]
)
def test_spelling(key: str) -> None:
    assert is_secret_key(key, numeric=False)


@pytest.mark.parametrize("key", ["max_tokens", "tokens_generated", "promptTokens", "tokens"])
def test_numbers_of_tokens_are_counts_and_anything_else_below_that_key_is_hidden(key: str) -> None:
    assert not is_secret_key(key, numeric=True)
    assert is_secret_key(key, numeric=False)


@pytest.mark.parametrize("key", ["password", "pin_token", "secret"])
def test_a_number_can_be_a_password(key: str) -> None:
    assert is_secret_key(key, numeric=True)


def test_a_key_without_a_word_is_harmless() -> None:
    assert not is_secret_key("", numeric=False)
    assert not is_secret_key("密码", numeric=False)
