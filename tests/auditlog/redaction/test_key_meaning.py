from __future__ import annotations

import pytest

from auditlog.redaction.key_meaning import meaning, words
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


def told(key: str) -> tuple[str, bool, bool] | None:
    found = meaning(key)
    return None if found is None else (found.kind, found.sure, found.plural)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # Several secrets, or one.
        *(("password", ("password", True, False)), ("passwords", ("password", True, True))),
        *(("pass", ("password", True, False)), ("cookies", ("cookie", True, True))),
        *(("refresh_token", ("token", True, False)), ("refresh_tokens", ("token", True, True))),
        *(("tokens", ("token", True, True)), ("tokens2", ("token", True, True))),
        *(("signing_key", ("key", True, False)), ("signing_keys", ("key", True, True))),
        *(("vault_keys", ("key", True, True)), ("webhooks", ("secret_url", True, True))),
        # A count of tokens is none.
        *(("max_tokens", None), ("max_input_tokens", None), ("max_new_tokens", None)),
        *(("max_refresh_token", None), ("max_password", ("password", True, False))),
        *(("refresh_max_api_tokens", ("token", True, True)), ("tokens_max", None)),
        # Words, numbers and single letters that change nothing.
        *(("token_2", ("token", True, False)), ("token_10", ("token", True, False))),
        *(("token_a", ("token", True, False)), ("token_old_2", ("token", True, False))),
        *(("login_token_response", ("token", True, False)), ("token_ab", ("token", False, False))),
        # A hash of a value that can be tried out is a secret, another hash is not.
        *(("password_hash", ("password_hash", True, False)), ("token_hash", None)),
        *(("password_digest_2", ("password_hash", True, False)), ("token_hash_old", None)),
        *(("password_salted", ("password_hash", True, False)), ("api_key_hash", None)),
        *(("password_hashes", ("password", False, False)), ("hash_password", ("password", True, False))),
        # A secret_id is the secret itself.
        *(("secret_id", ("secret", True, False)), ("secret_id_2", ("secret", True, False))),
        *(("secrets_id", None), ("token_id", None), ("secret_id_path", None)),
        # A word in -ed tells what became of it, a short one is a word.
        *(("password_bored", None), ("token_sealed", None), ("token_shed", ("token", False, False))),
        *(("token_fed", ("token", False, False)), ("token_unsed_blue", None)),
        # Words written together.
        *(("dbpassword", ("password", True, False)), ("my_dbpasswd_old", ("password", True, False))),
        *(("passwordold", ("password", True, False)), ("my_passwordhash", ("password_hash", True, False))),
        *(("passwordreset", None), ("passwordxyz", ("password", False, False))),
        *(("tokenvalue", ("token", True, False)), ("secretvalue", ("secret", True, False))),
        *(("my_secrethash", ("secret", True, False)), ("tokenx", None), ("secretary", None)),
        *(("tokenvalue_path", None), ("token_secretary", ("token", False, False))),
        *(("compass", None), ("bypass", None), ("password_compass", ("password", False, False))),
        *(("has_dbpassword", None), ("has_passwordold", None), ("last_tokenvalue", None)),
        *(("mysecret_id", ("secret", True, False)), ("mytoken_id", None)),
        *(("token_old_owner", None), ("token_2_owner", None), ("token_x_owner", None)),
        *(("password_old_hash", ("password_hash", True, False)), ("to\u200bken", ("token", True, False))),
        # Words that are a secret alone, and something else beside others.
        *(("pat", ("token", True, False)), ("my_pat", None)),
        *(("tan", ("otp", True, False)), ("red_tan", None), ("csrf", ("token", True, False))),
        *(("parole", None), ("assertion", None), ("xsrf_old", ("token", True, False))),
        *(("webhook", ("secret_url", True, False)), ("saml_assertion", ("token", True, False))),
        # Keys by what they are for.
        *(("key", None), ("blue_key", None), ("private_key", ("key", True, False))),
        *(("key_private", None), ("private_key_path", None)),
        # Up to four words name a secret.
        *(("mot_de_passe", ("password", True, False)), ("my_mot_de_passe_2", ("password", True, False))),
        # A holder of a secret is no secret.
        *(("has_password", None), ("gpio_pin", None), ("last_token", None), ("accept_cookies", None)),
        ("last_login_token", ("token", True, False)),
    ],
)  # fmt: skip
def test_the_words_around_a_secret_say_what_the_key_holds(
    key: str, expected: tuple[str, bool, bool] | None
) -> None:
    assert told(key) == expected


def test_the_last_secret_of_a_key_counts() -> None:
    assert told("password_token") == ("token", True, False)
    assert told("token_password") == ("password", True, False)
    assert told("token_cookie_name") is None


def test_the_words_of_a_key() -> None:
    assert words("X-Api-Key") == words("xAPIKey") == ["x", "api", "key"]
    assert words("sha256Key") == ["sha", "256", "key"]
    assert words("Contraseña_HASŁO") == ["contrasena", "haslo"]
    assert words("Straße\u200b") == ["strasse"]
    assert words("Пароль-2") == ["пароль", "2"]
