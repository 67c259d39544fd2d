"""Secrets of every kind the redaction knows, and texts to hide them in."""

from __future__ import annotations

import base64
import string
from random import Random

from hypothesis import strategies as st

_BASE62 = string.ascii_letters + string.digits
_BASE64 = _BASE62 + "+/"
_URLSAFE = _BASE62 + "-_"


def _run(alphabet: str, low: int, high: int) -> st.SearchStrategy[str]:
    """Random characters, as issuers draw them: never forty times the same letter."""
    return st.builds(_drawn, st.just(alphabet), st.integers(low, high), st.integers(0, 2**32))


def _drawn(alphabet: str, length: int, seed: int) -> str:
    random = Random(seed)
    while True:
        text = "".join(random.choices(alphabet, k=length))
        if length < 12 or (any(c.isdigit() for c in text) and any(c.isalpha() for c in text)):
            return text


# Random text long enough that it stands nowhere else in a record by chance, and is no prose.
PASSWORDS = st.builds("{}9{}".format, _run(_URLSAFE + "!$%*.,;~^", 4, 12), _run(_BASE62, 4, 12))

_PREFIXED = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["ghp_", "gho_", "ghs_"]), _run(_BASE62, 36, 36)),
    st.builds("github_pat_{}".format, _run(_BASE62 + "_", 30, 82)),
    st.builds("glpat-{}".format, _run(_URLSAFE, 20, 20)),
    st.builds("sk-{}".format, _run(_BASE62, 20, 48)),
    st.builds("sk-proj-{}".format, _run(_URLSAFE, 20, 48)),
    st.builds("sk_live_{}".format, _run(_BASE62, 24, 24)),
    st.builds("xoxb-{}".format, _run(_BASE62 + "-", 20, 40)),
    st.builds("hf_{}".format, _run(_BASE62, 34, 34)),
    st.builds("npm_{}".format, _run(_BASE62, 36, 36)),
    st.builds("AIza{}".format, _run(_URLSAFE, 35, 35)),
    st.builds("AKIA{}".format, _run(string.ascii_uppercase + string.digits, 16, 16)),
)
_JWTS = st.builds("eyJ{}.eyJ{}.{}".format, *(_run(_URLSAFE, 10, 60) for _ in range(3)))
_PEMS = st.builds(
    "-----BEGIN {}PRIVATE KEY-----\n{}\n{}\n-----END {}PRIVATE KEY-----".format,
    st.shared(st.sampled_from(["", "RSA ", "EC ", "OPENSSH "]), key="pem"),
    _run(_BASE64, 64, 64),
    _run(_BASE64, 20, 63),
    st.shared(st.sampled_from(["", "RSA ", "EC ", "OPENSSH "]), key="pem"),
)
# With a 0, which base58 does not have: an address that looks like one is public, and stays.
_AWS_SECRETS = st.builds("{}0Z3".format, _run(_BASE62, 37, 37))

STANDING_ALONE = st.one_of(_PREFIXED, _JWTS, _PEMS, _AWS_SECRETS)
"""Recognised wherever they stand between other words."""

_PHRASES = st.sampled_from(
    [
        "Authorization: Bearer {}",
        '"authorization": "Bearer {}"',
        "proxy-authorization={}",
        "Cookie: session={}",
        "Set-Cookie: sid={}; Path=/",
        "got bearer {}",
        "BEARER\t{}",
        "password={}",
        "password = '{}'",
        'dsn={{"password": "{}"}}',
        "PGPASSWORD={}",
        "GET /v1?access_token={}&x=1",
        "run --api-key {}",
        "run --password={}",
        "postgres://bob:{}@db/x",
        "redis://:{}@cache:6379/0",
        "X-Api-Key: {}",
        "client_secret: {}",
        "aws_secret_access_key = {}",
    ]
)
IN_A_PHRASE = st.tuples(PASSWORDS, _PHRASES).map(lambda pair: (pair[0], pair[1].format(pair[0])))
"""(secret, text that holds it)"""


def _basic(password: str) -> tuple[str, str]:
    secret = base64.b64encode(f"bob:{password}".encode()).decode()
    return secret, f"Basic {secret}"


SECRETS = st.one_of(
    STANDING_ALONE.map(lambda secret: (secret, secret)), IN_A_PHRASE, PASSWORDS.map(_basic)
)
"""(secret, text that holds it) of every kind"""

WORDS = st.lists(
    st.sampled_from(["task", "denied", "gpu-0", "größe", "模型", "/models/llama", "42", "a.b"]),
    max_size=3,
).map(" ".join)

HIDDEN = st.tuples(WORDS, SECRETS, WORDS).map(
    lambda parts: (parts[1][0], f"{parts[0]} {parts[1][1]} {parts[2]}")
)
"""(secret, longer text that holds it)"""

SECRET_KEYS = [
    "token", "password", "passwd", "secret", "Authorization", "api_key", "apiKey", "APIKEY",
    "X-Api-Key", "cookie", "Set-Cookie", "private_key", "privateKey", "credentials",
    "aws_secret_access_key", "access_key", "session_token", "sessionToken", "ACCESS_TOKEN",
    "client_secret", "password_hash", "refresh-token", "tokens", "secret_id", "prompt",
    "system_prompt", "db.password", "userPassword", "JWT", "passphrase", "signing_key",
    "pin", "cvv", "otp_code",
    "contraseña", "пароль", "mot de passe", "verificationCode", "hmacKey", "webhook_url",
]  # fmt: skip
HARMLESS_KEYS = [
    "token_fingerprint", "token_prefix", "token_count", "token_type", "token_id", "expires_at",
    "session_id", "key_id", "public_key", "prompt_hash", "prompt_length", "auth_method", "key",
    "monkey", "author", "tokenizer", "compass", "secretary", "keyboard", "max_retries", "path",
    "access_key_id", "api_key_fingerprint", "bypass_reason", "token_owner", "password_changed_at",
    "eos_token", "boarding_pass", "cookie_consent", "authorization_decision", "secret_version",
]  # fmt: skip

UNSAFE = [
    "\x00", "\x01", "\x07", "\x08", "\x0b", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9b", "\x9f",
    "\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069",
]  # fmt: skip
SEQUENCES = [
    "\x1b[31m",
    "\x1b[0m",
    "\x1b[2K",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1bc",
]
STRANGE_TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*UNSAFE, *SEQUENCES, "\t", "\n", "\r\n", "sk-", "eyJ", "://", "@", "="]),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)
"""Everything that fools a reader, between other characters.  No lone surrogates."""
