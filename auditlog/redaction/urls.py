"""Find passwords and tokens before the host of a URL, and URLs that are secrets as a whole.  Pure.

Invariants (tests of the same name in tests/auditlog/redaction/test_urls.py):
  found     a password before the host is found whatever characters it has
  kept      the user, the host and the port are kept
"""

from __future__ import annotations

import re
from typing import Final

from auditlog.redaction.looks import is_masked, is_redacted, looks_random
from auditlog.redaction.secret_values import Hit

__all__ = ["find_urls"]

_AFTER_SCHEME: Final = re.compile(r"[^\s\"'<>`]{0,4096}")
_USER: Final = re.compile(r"[^\s/?#:@\"'<>`]{0,256}")
_PORT: Final = re.compile(r"\d{1,5}(?=[/?#\s\"',;)]|$)")
_SPACED: Final = re.compile(r"[^\r\n\"'<>/?#@:]{1,64}@[\w.-]{1,100}")
_HOOK: Final = re.compile(
    r"(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)"
    r"|discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks|[\w.-]{1,80}\.webhook\.office\.com/webhookb2"
    r"|outlook\.office(?:365)?\.com/webhook|hooks\.zapier\.com/hooks(?:/catch)?|api\.telegram\.org"
    r"|maker\.ifttt\.com/(?:trigger|use)|hooks\.airtable\.com|hooks\.chime\.aws|webhook\.site"
    r"|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/(?:v2/)?hook|hook\.[a-z0-9.]{0,20}make\.com"
    r"|[\w.-]{1,80}/hooks|events\.pagerduty\.com/integration)/([^\s\"'<>?#]{16,512})",
    re.IGNORECASE,
)


def find_urls(text: str, hits: list[Hit]) -> None:
    """Passwords and tokens before the host, and URLs that are secrets as a whole."""
    position = text.find("://")
    while position >= 0:
        following = text.find("://", position + 3)
        start = position + 3
        scheme = text[max(0, position - 6) : position].lower()
        position = following
        if scheme.endswith("mailto"):
            continue
        limit = len(text) if following < 0 else following
        user = _USER.match(text, start, limit)
        assert user is not None  # noqa: S101  (it may be empty)
        end = user.end()
        if end >= limit or text[end] not in ":@":
            continue
        if text[end] == "@":
            token = user[0]
            if len(token) >= 16 and (looks_random(token) or _is_hex(token)):
                hits.append((start, end, "url_token"))
            continue
        if user[0].startswith("[") or _PORT.match(text, end + 1) is not None:
            continue
        rest = _AFTER_SCHEME.match(text, end + 1, limit)
        assert rest is not None  # noqa: S101  (as above)
        at = rest[0].rfind("@")
        if at > 0:
            if not is_redacted(rest[0][:at]) and not is_masked(rest[0][:at]):
                hits.append((rest.start(), rest.start() + at, "url_password"))
        elif (spaced := _SPACED.match(text, end + 1, limit)) is not None:
            hits.append((end + 1, end + 1 + spaced[0].rfind("@"), "url_password"))
    if "hook" in text or "telegram.org/bot" in text or "pagerduty" in text or "ifttt" in text:
        hits += [
            (*match.span(1), "webhook")
            for match in _HOOK.finditer(text)
            if any(c.isdigit() for c in match[1])
        ]


def _is_hex(text: str) -> bool:
    return len(text) >= 32 and all(c in "0123456789abcdef" for c in text)
