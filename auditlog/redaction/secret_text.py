"""Secrets by their looks: what in a string is a credential.  Pure.

Found are Bearer and Basic credentials, Authorization and Cookie headers, ``password=…`` and
``--password …``, URL passwords, JWTs, PEM private keys, AWS keys, and the tokens of well-known
issuers (ghp_, github_pat_, glpat-, sk-, sk_live_, xox…, hf_, npm_, AIza).  Each becomes
``sha256:<12 hex>``, the start of the SHA-256 of its UTF-8, so that two uses of one token can be
correlated and none can be used.

Only the secret part of a string is replaced.  Where prose and secret look alike (``token: x``) the
text is given up rather than the secret, except for a few words that prose uses there.

Every repetition in a pattern is bounded or cannot be entered twice: a hostile string of the longest
permitted length costs milliseconds.

Invariants (tests of the same name in tests/auditlog/redaction/test_secret_text.py):
  found       each kind of secret is replaced, wherever in a text it stands
  kept        what only looks a little like one stays
  stable      one secret has one fingerprint, wherever it stands
  fast_path   suspicious(text) is False implies that redact leaves the text as it is
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from typing import Final

from auditlog.redaction.secret_keys import is_secret_key, words

__all__ = [
    "ISSUED_SK",
    "ODD",
    "fingerprint",
    "fingerprint_credentials",
    "redact",
    "suspicious",
]

_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{12}")

# Nearly every string has only characters that none of the rules below can start from, and is done
# after this one look.  Excluded are the control characters and all of non-ASCII; blank, =, ", ' and
# @ (credentials, key=value, URLs); I, J and _ (AKIA, ASIA, AIza; eyJ; ghp_, hf_, npm_, sk_live_ …);
# and the backslash, so that such a string is also its own JSON (see event_code).
# "sk-", "pat-" (glpat-) and "xox" have no rare character, an AWS secret only its length of 40.
ODD: Final = re.compile(r"[^!#-&(-<>?A-HK-Z\[\]^`-~]").search
ISSUED_SK: Final = re.compile(r"sk-(?<![A-Za-z0-9]sk-)").search
"""Tells "sk-…" from "task-…"; starts with the letters, so that the engine can search for them."""
_AWS_SECRET_LENGTH: Final = 40

_PROSE: Final = words(
    "a absent already an and are authentication authorization been but by can cannot check "
    "credential credentials denied does empty exceeded expired failed failure false for "
    "format from has have header in invalid is length limit malformed mismatch missing must "
    "no none not null of or refused rejected required revoked scheme signature the to token "
    "tokens too true undefined unknown used validation verification was were with wrong"
)
_SCHEME: Final = re.compile(
    r"(?:(?:bearer|basic|digest|negotiate|token|apikey|api-key|aws4-hmac-sha256)\s+)(?=\S)",
    re.IGNORECASE,
)
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\Z)",
    re.DOTALL,
)
_HEADER: Final = re.compile(
    r"(?P<keep>(?:authorization|cookie)[\"']?\s*[:=]\s*(?P<quote>[\"'])?"
    rf"(?:{_SCHEME.pattern})?)(?P<secret>(?(quote)(?:(?!(?P=quote))[^\r\n])+|[^\r\n]+))",
    re.IGNORECASE,
)
_URL: Final = re.compile(
    r"(?P<keep>://[^\s/?#:@]*:)(?!\d{1,5}(?:[/?#]|$))(?P<secret>[^\s\"<>]{1,1024})(?=@)"
)
_CREDENTIALS: Final = re.compile(
    r"(?P<keep>(?<![A-Za-z])bearer\s+[\"']?)(?P<secret>[^\s\"']*[^\s\"',;])", re.IGNORECASE
)
_BASIC: Final = re.compile(
    r"(?P<keep>(?<![A-Za-z])basic\s+)(?P<secret>[A-Za-z0-9+/=_-]+)", re.IGNORECASE
)
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{4,4096}+(?:\.[A-Za-z0-9_-]*){1,4}")
_ISSUED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{12,}"
    r"|sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{12,}|xox[a-z]-[\w-]{8,}|hf_[A-Za-z0-9]{16,}"
    r"|npm_[A-Za-z0-9]{16,}|AIza[\w-]{30,}|(?:AKIA|ASIA)[A-Z0-9]{12,})",
    re.ASCII,
)
_AWS_SECRET: Final = re.compile(
    r"(?<![\w/+=-])(?=[a-z0-9/+]{0,39}[A-Z])(?=[A-Z0-9/+]{0,39}[a-z])(?=[A-Za-z]{0,39}[0-9/+])"
    r"[A-Za-z0-9/+]{40}(?![\w/+=-])",
    re.ASCII,
)
_KEY: Final = re.compile(
    r"(?P<key>[A-Za-z][\w.-]{0,63})(?:[\"']?\s*=>?\s*|[\"']?\s*:\s*(?=[\"'])|[\"']?:\s+)"
)
_VALUE: Final = re.compile(
    rf"(?P<keep>(?P<quote>[\"'])?(?:{_SCHEME.pattern})?)"
    r"(?P<secret>(?(quote)(?:(?!(?P=quote))(?:\\.|[^\\]))+|[^\s&\"'][^\s&]*))",
    re.IGNORECASE | re.DOTALL,
)
_FLAG: Final = re.compile(r"(?P<keep>--(?P<key>[A-Za-z][\w-]{0,63})\s+)(?P<secret>(?!--)\S+)")


def fingerprint(secret: str) -> str:
    """What stands in a record instead of the secret: 48 bits of its SHA-256."""
    return f"sha256:{sha256(secret.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def fingerprint_credentials(text: str) -> str:
    """What stands for a text that is a secret as a whole; a scheme such as Bearer is kept."""
    scheme = _SCHEME.match(text)
    start = 0 if scheme is None else scheme.end()
    if _FINGERPRINT.fullmatch(text, start):
        return text
    # The scheme is one of a few known words: only its blanks may be strange.
    return " ".join([*text[:start].split(), fingerprint(text[start:])])


def suspicious(text: str) -> bool:
    """Whether the text needs a full look.  May say yes for nothing, never no for something."""
    return (
        ODD(text) is not None
        or ("sk-" in text and ISSUED_SK(text) is not None)
        or "pat-" in text
        or "xox" in text
        or len(text) >= _AWS_SECRET_LENGTH
    )


def redact(text: str) -> str:
    """The text with a fingerprint for each secret; rules that know more context come first."""
    if "PRIVATE KEY" in text:
        text = _PEM.sub(_whole, text)
    lowered = text.lower()
    if "authorization" in lowered or "cookie" in lowered:
        text = _HEADER.sub(_part_unless_prose, text)
    if "://" in text and "@" in text:
        text = _URL.sub(_part, text)
    if "bearer" in lowered:
        text = _CREDENTIALS.sub(_part_unless_prose, text)
    if "basic" in lowered:
        text = _BASIC.sub(_part_if_credentials, text)
    if "eyJ" in text:
        text = _JWT.sub(_whole, text)
    if (  # written out: a loop over them takes longer than the looks
        "sk-" in text
        or "xox" in text
        or "gh" in text
        or "pat-" in text
        or "pat_" in text
        or "k_" in text
        or "hf_" in text
        or "npm_" in text
        or "IA" in text
        or "AIza" in text
    ):
        text = _ISSUED.sub(_whole, text)
    if "=" in text or ":" in text:
        text = _redact_pairs(text)
    if "--" in text:
        text = _FLAG.sub(_part_of_flag, text)
    if len(text) >= _AWS_SECRET_LENGTH:
        text = _AWS_SECRET.sub(_whole, text)
    return text


def _whole(match: re.Match[str]) -> str:
    return fingerprint(match[0])


def _part(match: re.Match[str]) -> str:
    secret = match["secret"]
    if _FINGERPRINT.fullmatch(secret):
        return match[0]
    return match["keep"] + fingerprint(secret)


def _part_unless_prose(match: re.Match[str]) -> str:
    first, _, _ = match["secret"].partition(" ")
    return match[0] if first.lower().rstrip(".,:!?") in _PROSE else _part(match)


def _part_if_credentials(match: re.Match[str]) -> str:
    """Basic credentials are user:password in base64; a word of prose is not."""
    secret = match["secret"].rstrip("=").translate({0x2D: "+", 0x5F: "/"})
    try:
        found = b":" in base64.b64decode(secret + "=" * (-len(secret) % 4))
    except (binascii.Error, ValueError):
        found = False
    return _part(match) if found else match[0]


def _part_of_flag(match: re.Match[str]) -> str:
    return _part(match) if is_secret_key(match["key"], numeric=False) else match[0]


def _redact_pairs(text: str) -> str:
    """key=value, key: value.  What follows a harmless key may hold a pair itself."""
    pieces: list[str] = []
    done = 0
    for key in _KEY.finditer(text):
        if key.start() < done or not is_secret_key(key["key"], numeric=False):
            continue
        if value := _VALUE.match(text, key.end()):
            pieces += text[done : key.end()], _part_unless_prose(value)
            done = value.end()
    return "".join([*pieces, text[done:]])
