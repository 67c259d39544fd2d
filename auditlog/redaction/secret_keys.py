"""Which keys hold a secret, by the words of their names.  Pure.

A key is taken apart into words (``X-Api-Key``, ``apiKey``, ``API_KEY`` are api + key), and is a
secret's when a word says so, unless its last word says that it is only about the secret:

  secret      token, access_token, session_token, client_secret, password_hash, AUTHORIZATION,
              Set-Cookie, api_key, privateKey, aws_secret_access_key, credentials, system_prompt
  harmless    token_fingerprint, token_prefix, token_count, token_type, token_id, expires_at,
              session_id, key_id, public_key, prompt_hash, prompt_length, auth_method

``tokens`` counts tokens of a language model as often as it lists credentials: numbers stay
(max_tokens, tokens_generated), anything else is hidden.  A prompt is not a credential but must
never be logged either, and is treated as one.

Invariants (tests of the same name in tests/auditlog/redaction/test_secret_keys.py):
  spelling   case, separators and camelCase do not change the answer
  about      what only describes a secret is not one
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

__all__ = ["is_secret_key", "words"]


def words(text: str) -> frozenset[str]:
    """A set of words, written as text."""
    return frozenset(text.split())


_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SECRET_WORDS: Final = words(
    "authorization bearer cookie cookies credential credentials jwt otp pass passcode passwords "
    "psk pwd secrets"
)
# Also as the end of a word: PGPASSWORD, accesstoken, MYAPIKEY.
_SECRET_ENDS: Final = (
    "accesskey",
    "apikey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "token",
)
_KEYS: Final = words(
    "access account api auth client decryption encryption hmac host master private secret "
    "service session shared signing ssh storage"
)
_PROMPTS: Final = words("prompt prompts")
_ABOUT: Final = words(
    "age algorithm at attempts bits bytes count enabled endpoint exp expired expires expiry "
    "fingerprint hash id ids index kind len length limit method name names policy prefix "
    "present required rotated scope scopes size status ttl type uri url used valid version"
)
_LOW_ENTROPY: Final = ("pass", "passcode", "passphrase", "passwd", "password", "pwd")


@lru_cache(maxsize=4096)
def is_secret_key(key: str, *, numeric: bool) -> bool:
    """Whether what stands under the key must not be written.

    ``numeric`` tells that the value is a number, which under ``tokens`` is a count.
    """
    parts = [word.lower() for word in _WORD.findall(key)]
    found = _SECRET_WORDS.intersection(parts)
    found |= {part for part in parts if part.endswith(_SECRET_ENDS)}
    if "tokens" in parts and not numeric:
        found |= {"tokens"}
    if any(second in ("key", "keys") and first in _KEYS for first, second in pairwise(parts)):
        found |= {"key"}
    if parts and parts[-1] in _PROMPTS and not numeric:
        found |= {"prompt"}
    if not found:
        return False
    if parts[-1] not in _ABOUT:
        return True
    # A password is short enough to be found from its hash; an AppRole's secret_id is the secret.
    if parts[-1] == "hash":
        return any(part.endswith(_LOW_ENTROPY) for part in found)
    return parts[-2:] == ["secret", "id"]
