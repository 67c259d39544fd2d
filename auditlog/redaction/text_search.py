r"""Find the secrets in a text: keys with their values, headers, URLs, SQL, markup, tokens.  Pure.

Every rule adds spans of the text to one list; none changes it, so their order does not matter.
Each rule goes through the text once, guarded by a look for the character it cannot do without, and
no pattern is tried twice on the same characters: the cost is linear in the length.

Invariants (tests of the same name in tests/auditlog/redaction/test_text_search.py):
  found     each kind of secret is found, wherever in a text it stands
  kept      what only resembles one is not
  linear    a hostile text costs no more than a small multiple of a plain one
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from auditlog.redaction.command_lines import find_in_command_line
from auditlog.redaction.formats import find_formats
from auditlog.redaction.key_meaning import Meaning
from auditlog.redaction.looks import (
    basic_credentials,
    guessed_password,
    is_fact,
    is_masked,
    is_redacted,
    looks_random,
)

__all__ = ["NAMING", "VALUES", "Hit", "TextSearch", "cookie_values", "hides", "is_number"]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


Hit = tuple[int, int, str]
"""Where a secret starts and ends, and the rule that found it."""

NAMING: Final = _set(
    "name key field column attribute property param parameter variable var setting option "
    "header id label k n path type kind prompt question for item title identifier config"
)
"""Members that may name the content of another member, such as ``name`` or ``field``."""
VALUES: Final = _set(
    "value values val v old new from to before after content data current previous default "
    "answer response text input oldvalue newvalue old_value new_value plaintext raw "
    "stringvalue string_value result payload body"
)
"""Members for the content that another member names, such as ``value``."""

_PAIR: Final = re.compile(
    r"(?<![\w.\-])([\w.\-]++)"
    r"(\\{0,7}[\"'`]?\]?[ \t]{0,8}(?:=>|:=|==?|:(?![:/])|%(?:25)?3[dDaA]))([ \t]{0,8})"
)
_BROKEN_LINE: Final = re.compile(r"[ \t]{0,8}(?:[|>][-+]?)?\r?\n[ \t]{0,32}")
_OPEN: Final = re.compile(r"(?:[bBrRuUfFnNeE]{1,2}(?=[\"']))?(\\{0,7}[\"'`])")
_SCHEME: Final = re.compile(
    r"(?:bearer|basic|token|apikey|api-key|negotiate|ntlm|key|jwt|splunk|genie-?key|bot)[ \t]{1,4}"
    r"(?=\S)",
    re.IGNORECASE,
)
_LONG_SCHEME: Final = re.compile(
    r"(?:digest|aws4-hmac-sha256|aws4-ecdsa-p256-sha256|aws|hawk|oauth|hmac|signature|mac|"
    r"sharedkey(?:lite)?|credential|scram-sha-256|dpop)[ \t]",
    re.IGNORECASE,
)
_CHARACTER: Final = (
    r"(?:[^\s&;,\"'`<>%|]|&(?![\w.%\[\]-]{1,40}=)|;(?!\s|$|[\w. -]{1,40}=)"
    r"|,(?!\s|$|[\w.-]{1,40}[=:])"
    r"|[\"'`](?![\s,;:)}\]>/]|$)|<(?!/)|>|%(?!26|3[bB]|22|25[23])|\|(?!\s|\|))"
)
_UNQUOTED: Final = re.compile(f"(?:{_CHARACTER})++")
_BEGINNING: Final = re.compile(f"(?:{_CHARACTER}){{1,64}}+")
"""Characters of a value that are judged; a value that is kept is searched again for pairs."""
_FIRST_WORD: Final = re.compile(r"[^\s\"]{1,256}")
_LINE: Final = re.compile(r"[^\r\n]+")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)*%?(?:ms|us|ns|s|m|h|d|k|K|M|x)?")
_DIGITS: Final = re.compile(r"\d[\d -]{1,30}\d")
_LETTERS: Final = re.compile(r"[^\W\d_]{1,24}[.,:;!?)]{0,2}")
_SCOPE: Final = re.compile(r"[A-Za-z]{1,32}:")
_PATH: Final = re.compile(r"[/~.]|[A-Za-z]:[\\/]")
_BEFORE: Final = re.compile(r"[^\W_]{1,24}$")
_ENTRY: Final = re.compile(r"([^=;,\s]{1,128})=([^;\s]{1,8192})")
_COOKIE_ATTRIBUTES: Final = _set("path domain expires max-age samesite priority version")
_WEAK_QUERY: Final = _set(
    "key code sig signature auth session sessionid session_id sid ticket hash hmac state "
    "nonce assertion id_token k t x-amz-signature x-goog-signature s apitoken access grant"
)
_OTP_SENTENCE: Final = re.compile(
    r"(?<![A-Za-z])(?:code|otp|pin|passcode|password|passwort|token|secret)"
    r"(?:\s(?:for|to)\s[\w .-]{1,40}?)?"
    r"\s(?:is|was|are|lautet|ist)(?:\snow)?:?\s{1,2}[\"'`]?([^\s\"'`<>]{3,128})",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(
    r"(?<![A-Za-z])bearer(?:\s{1,4}|%20|\+|:\s{0,2})[\"']?([^\s\"'<>]{4,8192})", re.IGNORECASE
)
_BASIC: Final = re.compile(
    r"(?<![A-Za-z])basic(?:\s{1,4}|%20)([A-Za-z0-9+/=_-]{4,1024})", re.IGNORECASE
)
_PEM: Final = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PEM_END: Final = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_BASE64_PEM: Final = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]{40,}+")
_HOOK: Final = re.compile(
    r"(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)"
    r"|discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks|[\w.-]{1,80}\.webhook\.office\.com/webhookb2"
    r"|outlook\.office(?:365)?\.com/webhook|hooks\.zapier\.com/hooks(?:/catch)?|api\.telegram\.org"
    r"|maker\.ifttt\.com/(?:trigger|use)|hooks\.airtable\.com|hooks\.chime\.aws|webhook\.site"
    r"|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/(?:v2/)?hook|hook\.[a-z0-9.]{0,20}make\.com"
    r"|[\w.-]{1,80}/hooks|events\.pagerduty\.com/integration)/([^\s\"'<>?#]{16,512})",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"<(?:[\w.-]{1,40}:)?([\w.-]{2,64})(?:\s[^<>]{0,300})?>\s{0,8}")
_IN_TAG: Final = re.compile(r"[^<>]{0,200}>([^<>]{1,4096})(?=<|$)")
_PART: Final = re.compile(r"[^\r\n]{0,200}(?:\r?\n[^\r\n]{1,200}){0,4}(?:\r\n\r\n|\n\n)")
_PART_END: Final = re.compile(r"\r?\n--")
_QUOTED_AFTER: Final = re.compile(r"(?<!\w)(\w{2,40})(?:\s{1,4}|\s?\(\s?)(?:=\s?)?[NnEe]?(?=['\"])")
_IDENTIFIED: Final = re.compile(
    r"identified\s{1,4}(?:with\s{1,4}\S{1,60}\s{1,4})?(?:by|as)(?:\s{1,4}(?:password|values))?"
    r"\s{1,4}(?:'((?:[^'\\]|''|\\.){1,512})'?|\"([^\"]{1,512})\"?|([^\s;'\"]{1,512}))",
    re.IGNORECASE | re.DOTALL,
)
_INSERT: Final = re.compile(
    r"into\s{1,4}[^\s()]{1,200}\s{0,4}\(([^()]{1,2000})\)\s{0,8}values\s{0,8}", re.IGNORECASE
)
_SQL_TUPLE: Final = re.compile(r"[\s,]{0,8}\(")
_SQL_VALUE: Final = re.compile(
    r"\s{0,8}((?:N|E|X)?'(?:[^'\\]|''|\\.){0,4096}'|[^,()']{0,512})\s{0,8}([,)])?"
)

_CONTEXT: Final = _set(
    "key keys code codes token tokens pass password passwords pin string secret secrets "
    "number phrase link url header cookie credential credentials passe passcode verifier card "
    "card_number otp id value hash prompt"
)


def is_number(text: str) -> bool:
    """Whether the text is a number, perhaps with a unit."""
    return _NUMBER.fullmatch(text) is not None


def hides(found: Meaning, key: str, value: str) -> bool:
    """Whether a value under a key of this meaning must be hidden."""
    if not value or is_redacted(value) or is_masked(value):
        return False
    kind = found.kind
    if is_number(value):
        return _hides_number(found, key, value)
    if kind == "password" and key.lower().endswith("pwd") and _PATH.match(value):
        return False
    if not found.sure:
        return looks_random(value) or (kind == "password" and guessed_password(value))
    return not (kind == "credentials" and is_fact(value))


def _hides_number(found: Meaning, key: str, value: str) -> bool:
    kind = found.kind
    if kind == "custom":
        return True
    if kind in ("pin", "otp", "cvv", "card", "iban", "identity_number"):
        return len(value) >= 3 and value.isdigit()
    if kind == "password":
        return key.lower() not in ("pass", "passes") and found.sure
    if found.plural or kind in ("prompt", "secret_url", "cookie"):
        return False
    return value.isdigit() and len(value) >= 4 and found.sure


def cookie_values(text: str, start: int, end: int) -> list[Hit]:
    """The values of a Cookie or Set-Cookie header; names and attributes are no secrets."""
    hits = [
        (match.start(2), match.end(2), "cookie")
        for match in _ENTRY.finditer(text, start, end)
        if match[1].lower() not in _COOKIE_ATTRIBUTES and not is_redacted(match[2])
    ]
    if not hits and not is_redacted(text[start:end]) and text.find("=", start, end) < 0:
        return [(start, end, "cookie")]
    return hits


class TextSearch:
    """The rules for texts that a policy has switched on.

    ``meaning`` judges a key; ``classes`` are those of rules.CLASSES; ``patterns`` the policy's own.
    """

    __slots__ = ("_classes", "_meaning", "_patterns")

    def __init__(
        self,
        meaning: Callable[[str], Meaning | None],
        classes: frozenset[str],
        patterns: Mapping[str, re.Pattern[str]],
    ) -> None:
        self._meaning = meaning
        self._classes = classes
        self._patterns = tuple(patterns.items())

    def find(self, text: str) -> list[Hit]:
        """Every secret of the text; spans may overlap and are in no order."""
        hits: list[Hit] = []
        on = self._classes
        if "formats" in on and len(text) >= 16:
            find_formats(text, hits)
        colon = ":" in text
        if "pairs" in on and (colon or "=" in text or "%3" in text):
            self._find_pairs(text, hits)
        if colon and "urls" in on and "://" in text:
            _find_urls(text, hits)
        if "private_keys" in on and ("PRIVATE" in text or "Private-" in text or "LS0t" in text):
            _find_private_keys(text, hits)
        if " " in text or "\t" in text or "\n" in text:
            self._find_among_words(text, hits)
        if "markup" in on and "<" in text and ">" in text:
            self._find_elements(text, hits)
        for name, pattern in self._patterns:
            for match in pattern.finditer(text):
                start, end = match.span(1 if pattern.groups and match[1] is not None else 0)
                if start < end:
                    hits.append((start, end, name))
        return hits

    def _find_among_words(self, text: str, hits: list[Hit]) -> None:
        """Rules that need at least two words."""
        on = self._classes
        lowered = text.lower()
        if "headers" in on and ("bearer" in lowered or "basic" in lowered):
            _find_credentials(text, hits)
        if "pairs" in on and (" is" in lowered or " was " in lowered or " ist " in lowered):
            for match in _OTP_SENTENCE.finditer(text):
                value = match[1].rstrip(".,;!?)")
                if any(c.isdigit() for c in value) and not is_redacted(value) and len(value) >= 4:
                    hits.append((match.start(1), match.start(1) + len(value), "spoken"))
        if "sql" in on and ("'" in text or '"' in text or "identified" in lowered):
            self._find_sql(text, lowered, hits)
        if "commands" in on:
            find_in_command_line(text, lowered, self._meaning, hits)

    # key=value, key: value, "key": "value" ----------------------------------------------------

    def _find_pairs(self, text: str, hits: list[Hit]) -> None:
        position = 0
        armed: Meaning | None = None
        armed_until = 0
        previous_end = 0
        search = _PAIR.search
        while (pair := search(text, position)) is not None:
            position = pair.end()
            key = pair[1]
            start = pair.start(1)
            encoded = start > 0 and text[start - 1] == "%"
            if encoded:
                key = key[2:]
            if len(key) > 64:
                key = key[-64:]
            found = self._meaning_in_text(text, key, start, previous_end)
            if found is None:
                low = key.lower()
                if armed is not None and start < armed_until and low in VALUES:
                    found, key = armed, low
                elif low in _WEAK_QUERY and (encoded or (start and text[start - 1] in "?&#;")):
                    value = _BEGINNING.match(text, position)
                    if value is not None and looks_random(value[0].replace("%2F", "")):
                        end = _end_of_value(text, value)
                        hits.append((position, end, "url_parameter"))
                        position = end
                    continue
                elif low in NAMING and (named := self._named(text, pair.end())) is not None:
                    armed, position = named
                    armed_until = position + 600
                    self._find_named_content(text, position, armed, hits)
                    continue
                else:
                    continue
            previous_end = position
            position = self._judge(text, pair, key, found, hits)
            previous_end = position

    def _meaning_in_text(
        self, text: str, key: str, start: int, previous_end: int
    ) -> Meaning | None:
        """As a key of a mapping, with the words before it where they belong to it."""
        found = self._meaning(key)
        if start < 2 or text[start - 1] != " " or (found is None and key.lower() not in _CONTEXT):
            return found
        before: list[str] = []
        end = start - 1
        for _ in range(3):
            word = _BEFORE.search(text, max(previous_end, end - 24), end)
            if word is None:
                break
            before.insert(0, word[0])
            end = word.start() - 1
            if end < 0 or text[end] != " ":
                break
        if not before:
            return found
        if found is not None and self._meaning(f"{before[-1]} {key}") is None:
            return None
        if found is None:
            for first in range(len(before)):
                longer = self._meaning(" ".join([*before[first:], key]))
                if longer is not None:
                    return longer
        return found

    def _judge(
        self, text: str, pair: re.Match[str], key: str, found: Meaning, hits: list[Hit]
    ) -> int:
        """Add the pair's value where it is a secret; returns where to look on."""
        position, separator, spaced = pair.end(), pair[2], bool(pair[3])
        if position < len(text) and text[position] in "\r\n|>":
            broken = _BROKEN_LINE.match(text, position)
            if broken is None or ":" not in separator or not found.sure:
                return position
            after = _BEGINNING.match(text, broken.end())
            if after is None or not (looks_random(after[0]) or guessed_password(after[0])):
                return position
            end = _end_of_value(text, after)
            hits.append((after.start(), end, found.kind))
            return end
        if position < len(text) and text[position] in "[{(":
            return self._judge_list(text, position, key, found, hits)
        opened = _OPEN.match(text, position)
        if opened is not None:
            start, end = _quoted(text, opened)
            if found.kind == "cookie" and "=" in text[start:end]:
                hits += cookie_values(text, start, end)
            elif hides(found, key, text[start:end]):
                scheme = _SCHEME.match(text, start, end) if found.kind == "credentials" else None
                hits.append((scheme.end() if scheme else start, end, found.kind))
            return end
        if found.kind == "prompt":
            return position
        if found.kind in ("credentials", "cookie") and ("=" not in separator or spaced):
            return _header_value(text, position, found, hits)
        if not spaced and separator == ":" and _SCOPE.match(text, position) is not None:
            return position
        if key[-3:] in ("pwd", "PWD") and _PATH.match(text, position) is not None:
            return position
        scheme = _SCHEME.match(text, position)
        value = _BEGINNING.match(text, scheme.end() if scheme else position)
        if value is None:
            return position
        # The end of a sentence, or of an enclosing bracket, is not part of the value.
        shown = value[0]
        if not hides(found, key, shown.rstrip(".,:)")) and (
            not _digits_of(found.kind, text, position) or is_number(shown)
        ):
            return position
        if scheme is None and self._is_prose(text, position, shown, separator, spaced, found):
            return position
        if found.kind in ("card", "iban") and (digits := _DIGITS.match(text, position)) is not None:
            hits.append((position, digits.end(), found.kind))
            return digits.end()
        end = _end_of_value(text, value)
        hits.append((value.start(), end, found.kind))
        return end

    @staticmethod
    def _is_prose(
        text: str, position: int, value: str, separator: str, spaced: bool, found: Meaning
    ) -> bool:
        """Whether the words after the key speak about the secret instead of stating it."""
        if "=" in separator or "%" in separator:
            return is_fact(value)
        if not spaced:  # password:hunter22x, but token:a3f2c1 and scope:token:read
            if found.kind in ("password", "pin", "otp", "cvv"):
                return is_fact(value) or value.partition(":")[0].isalpha()
            return not looks_random(value)
        if is_fact(text[position : position + 80]):
            return True
        if found.kind == "password":
            return value.endswith(("ed", "ing", "ed,", "ed.")) and value.rstrip(".,").islower()
        return _LETTERS.fullmatch(value) is not None

    def _judge_list(
        self, text: str, position: int, key: str, found: Meaning, hits: list[Hit]
    ) -> int:
        """Quoted members of a list behind a secret's key: ["a","b"]."""
        if text[position] != "[":
            return position
        end = position + 1
        while (opened := _OPEN.match(text, end)) is not None:
            start, end = _quoted(text, opened)
            if hides(found, key, text[start:end]):
                hits.append((start, end, found.kind))
            end += len(opened[1])
            while end < len(text) and text[end] in ", \t\r\n":
                end += 1
        return end

    def _named(self, text: str, position: int) -> tuple[Meaning, int] | None:
        """The meaning of a quoted name, where it names a secret, and its end."""
        opened = _OPEN.match(text, position)
        if opened is None:
            return None
        start, end = _quoted(text, opened)
        if not 2 <= end - start <= 64 or " " in text[start:end].strip():
            return None
        found = self._meaning(text[start:end].rpartition("/")[2].rpartition(".")[2])
        return None if found is None or not found.sure else (found, end + len(opened[1]))

    @staticmethod
    def _find_named_content(text: str, end: int, found: Meaning, hits: list[Hit]) -> None:
        """<input name="password">x</…>, and a part of a form named so."""
        inside = _IN_TAG.match(text, end)
        if inside is not None and inside[1].strip() and "value" not in inside[0][:200].lower():
            if hides(found, "", inside[1].strip()):
                hits.append((inside.start(1), inside.end(1), found.kind))
            return
        part = _PART.match(text, end)
        if part is not None and part.end() < len(text):
            until = _PART_END.search(text, part.end())
            hits.append((part.end(), until.start() if until else len(text), found.kind))

    # SQL and markup ---------------------------------------------------------------------------

    def _find_sql(self, text: str, lowered: str, hits: list[Hit]) -> None:
        for match in _QUOTED_AFTER.finditer(text):
            found = self._meaning(match[1])
            if found is None or found.kind == "prompt":
                continue
            opened = _OPEN.match(text, match.end())
            if opened is None:
                continue
            start, end = _quoted(text, opened)
            value = text[start:end]
            if hides(found, match[1], value) and (
                found.kind == "password" or _LETTERS.fullmatch(value) is None
            ):
                hits.append((start, end, found.kind))
        if "identified" in lowered:
            for match in _IDENTIFIED.finditer(text):
                group = next(number for number in (1, 2, 3) if match[number] is not None)
                if not is_redacted(match[group]):
                    hits.append((*match.span(group), "password"))
        if "into" in lowered and "values" in lowered:
            for match in _INSERT.finditer(text):
                self._find_inserted(text, match, hits)

    def _find_inserted(self, text: str, match: re.Match[str], hits: list[Hit]) -> None:
        columns = [self._meaning(name.strip(" \t\r\n\"'`[]")) for name in match[1].split(",")]
        if not any(columns):
            return
        position = match.end()
        while (row := _SQL_TUPLE.match(text, position)) is not None:
            position = row.end()
            for found in columns:
                value = _SQL_VALUE.match(text, position)
                if value is None:
                    return
                shown = value[1].strip("NEX'")
                if found is not None and hides(found, "", shown):
                    hits.append((value.start(1), value.end(1), found.kind))
                position = value.end()
                if value[2] != ",":
                    break

    def _find_elements(self, text: str, hits: list[Hit]) -> None:
        for tag in _TAG.finditer(text):
            found = self._meaning(tag[1])
            if found is None:
                continue
            start = tag.end()
            if text.startswith("<![CDATA[", start):
                start += 9
                end = text.find("]]>", start)
            else:
                end = text.find("<", start)
            end = len(text) if end < 0 else end
            if hides(found, tag[1], text[start:end].strip()):
                hits.append((start, end, found.kind))


def _digits_of(kind: str, text: str, position: int) -> bool:
    return kind == "card" and _DIGITS.match(text, position) is not None


def _quoted(text: str, opened: re.Match[str]) -> tuple[int, int]:
    """The span between an opening quote and the one that closes it, or the end of the text."""
    quote = opened[1]
    start = position = opened.end()
    while True:
        end = text.find(quote, position)
        if end < 0:
            return start, len(text)
        backslashes = end
        while backslashes > start and text[backslashes - 1] == "\\":
            backslashes -= 1
        if (end - backslashes) % 2 == 0:
            return start, end
        position = end + len(quote)


def _end_of_value(text: str, beginning: re.Match[str]) -> int:
    rest = _UNQUOTED.match(text, beginning.end())
    return beginning.end() if rest is None else rest.end()


def _header_value(text: str, position: int, found: Meaning, hits: list[Hit]) -> int:
    """Find the secret after ``Authorization:`` or ``Cookie:``; return where to search on."""
    scheme = _SCHEME.match(text, position) if found.kind == "credentials" else None
    start = scheme.end() if scheme else position
    first = _FIRST_WORD.match(text, start)
    if first is None or is_fact(text[position : position + 80]) or is_fact(first[0]):
        return position
    word = first[0]
    if is_redacted(word) or is_masked(word) or is_number(word.rstrip(".,;")):
        return position
    if found.kind == "cookie" and "=" in word:
        line = _LINE.match(text, position)
        end = position if line is None else line.end()
        hits += cookie_values(text, position, end)
        return end
    if scheme is None and _LONG_SCHEME.match(text, position) is not None:
        line = _LINE.match(text, position)
        end = position if line is None else line.end()
        hits.append((position, end, found.kind))
        return end
    if scheme is None and _LETTERS.fullmatch(word) and not word.isupper():
        return position  # prose: credentials: none were given
    value = _BEGINNING.match(text, start)
    if value is None:
        return position
    end = _end_of_value(text, value)
    hits.append((start, end, found.kind))
    return end


def _find_credentials(text: str, hits: list[Hit]) -> None:
    """Bearer and Basic with what follows, outside a header too."""
    for match in _BEARER.finditer(text):
        word = match[1].rstrip(".,;:)")
        plain = word.isalpha() and (len(word) < 16 or word.islower() or word.istitle())
        if not (
            (plain and len(word) < 24) or is_redacted(word) or is_masked(word) or is_fact(word)
        ):
            hits.append((match.start(1), match.start(1) + len(word), "bearer"))
    hits += [
        (*match.span(1), "basic")
        for match in _BASIC.finditer(text)
        if basic_credentials(match[1], after_scheme=True)
    ]


_AFTER_SCHEME: Final = re.compile(r"[^\s\"'<>`]{0,4096}")
_USER: Final = re.compile(r"[^\s/?#:@\"'<>`]{0,256}")
_PORT: Final = re.compile(r"\d{1,5}(?=[/?#\s\"',;)]|$)")
_SPACED: Final = re.compile(r"[^\r\n\"'<>/?#@:]{1,64}@[\w.-]{1,100}")


def _find_urls(text: str, hits: list[Hit]) -> None:
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
        at = -1 if rest is None else rest[0].rfind("@")
        if rest is not None and at > 0:
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


def _find_private_keys(text: str, hits: list[Hit]) -> None:
    position = 0
    while (begin := _PEM.search(text, position)) is not None:
        end = _PEM_END.search(text, begin.end())
        position = len(text) if end is None else end.end()
        hits.append((begin.start(), position, "private_key"))
    lines = text.find("Private-Lines:")
    if lines >= 0:
        until = text.find("Private-MAC:", lines)
        hits.append((lines + 14, len(text) if until < 0 else until, "private_key"))
    if "LS0tLS1CRUdJTi" in text:
        hits += [
            (*match.span(), "private_key")
            for match in _BASE64_PEM.finditer(text)
            if "UFJJVkFUR" in match[0] or "QUklWQVRF" in match[0] or "BSSVZBVE" in match[0]
        ]
