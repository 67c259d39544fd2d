from __future__ import annotations

import pytest

from auditlog.redaction.key_meaning import meaning
from tests.support.secrets import HARMLESS_KEYS, SECRET_KEYS


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_a_key_that_names_a_secret_is_known(key: str) -> None:
    found = meaning(key)
    assert found is not None
    assert found.sure


@pytest.mark.parametrize("key", HARMLESS_KEYS)
def test_about(key: str) -> None:
    assert meaning(key) is None


@pytest.mark.parametrize(
    "key",
    [
        *("api_key", "API_KEY", "apiKey", "ApiKey", "api-key", "api.key", "my api key", "APIKey"),
        *("APIKEY", "ａｐｉ＿ｋｅｙ", "api\u200b_key"),
    ],
)
def test_spelling(key: str) -> None:
    found = meaning(key)
    assert found is not None
    assert (found.kind, found.sure) == ("key", True)


def test_accents_do_not_matter() -> None:
    assert meaning("contraseña") == meaning("contrasena") == meaning("Contrasen\u0303a")


def test_an_unknown_word_behind_the_secret_leaves_it_to_the_value() -> None:
    found = meaning("token_blue")
    assert found is not None
    assert not found.sure


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        *(("userPin", "pin"), ("verification_code", "otp"), ("cvc2", "cvv"), ("iban", "iban")),
        *(("password_hash", "password_hash"), ("dsn", "connection_string"), ("Cookie", "cookie")),
        *(("webhook_url", "secret_url"), ("system_prompt", "prompt"), ("kubeconfig", "secret")),
    ],
)
def test_the_kind_says_what_it_is(key: str, kind: str) -> None:
    found = meaning(key)
    assert found is not None
    assert found.kind == kind
