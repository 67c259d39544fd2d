"""Find the values of pairs whose key names a secret: key=value, key: value, "key": "value".  Pure.

A pair may be a header, a parameter of a URL, an assignment in code or JSON inside of a text.  Where
one pair names a secret and the next has its value, as in ``name="password" value="…"``, the value
is found too.

Invariants (tests of the same name in tests/auditlog/redaction/test_pairs.py):
  found     a value is found in every notation of a pair, and nothing beside it
  kept      words that speak about a secret are not its value
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from auditlog.redaction.key_meaning import Meaning
from auditlog.redaction.looks import (
    guessed_password,
    is_fact,
    is_masked,
    is_redacted,
    looks_random,
)
from auditlog.redaction.secret_values import (
    LETTERS,
    OPENING,
    Hit,
    cookie_values,
    hides,
    is_number,
    quoted,
)

__all__ = ["NAMING", "VALUES", "Judge", "find_pairs"]

Judge = Callable[[str], Meaning | None]
"""Judges a key."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


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
_JSON_NUMBER: Final = re.compile(r"-?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?(?=[ \t]{0,8}[,}\]])")
"""A number of JSON: a comma or bracket behind it does not belong to it, as to other values."""
_FIRST_WORD: Final = re.compile(r"[^\s\"]{1,256}")
_LINE: Final = re.compile(r"[^\r\n]+")
_DIGITS: Final = re.compile(r"\d[\d -]{1,30}\d")
_GROUPED: Final = {
    "card": _DIGITS,
    "iban": re.compile(
        r"[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])|" + _DIGITS.pattern
    ),
}
"""Numbers that are written in groups: a blank does not end them."""
_SCOPE: Final = re.compile(r"[A-Za-z]{1,32}:")
_BEFORE: Final = re.compile(r"[^\W_]{1,24}$")
_WEAK_QUERY: Final = _set(
    "key code sig signature auth session sessionid session_id sid ticket hash hmac state "
    "nonce assertion id_token k t x-amz-signature x-goog-signature s apitoken access grant"
)
_IN_TAG: Final = re.compile(r"[^<>]{0,200}>([^<>]{1,4096})(?=<|$)")
_PART: Final = re.compile(r"[^\r\n]{0,200}(?:\r?\n[^\r\n]{1,200}){0,4}(?:\r\n\r\n|\n\n)")
_PART_END: Final = re.compile(r"\r?\n--")
_CONTEXT: Final = _set(
    "key keys code codes token tokens pass password passwords pin string secret secrets "
    "number phrase link url header cookie credential credentials passe passcode verifier card "
    "card_number otp id value hash prompt"
)


def find_pairs(text: str, meaning: Judge, hits: list[Hit]) -> None:
    """Add the values of all pairs whose key names a secret."""
    position = 0
    armed: Meaning | None = None
    armed_until = 0
    previous_end = 0
    search = _PAIR.search
    while (pair := search(text, position)) is not None:
        position = pair.end()
        key = pair[1]
        start = pair.start()
        encoded = start > 0 and text[start - 1] == "%"
        if encoded:
            key = key[2:]
        key = key[-64:]
        found = _meaning_in_text(text, meaning, key, start, previous_end)
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
            elif low in NAMING and (named := _named(text, meaning, pair.end())) is not None:
                armed, position = named
                armed_until = position + 600
                _find_named_content(text, position, armed, hits)
                continue
            else:
                continue
        previous_end = position
        position = _judge(text, pair, key, found, hits)
        previous_end = position


def _meaning_in_text(
    text: str, meaning: Judge, key: str, start: int, previous_end: int
) -> Meaning | None:
    """As a key of a mapping, with the words before it where they belong to it."""
    found = meaning(key)
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
    if found is not None and meaning(f"{before[-1]} {key}") is None:
        return None
    if found is None:
        for first in range(len(before)):
            longer = meaning(" ".join([*before[first:], key]))
            if longer is not None:
                return longer
    return found


def _judge(text: str, pair: re.Match[str], key: str, found: Meaning, hits: list[Hit]) -> int:
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
        return _judge_list(text, position, key, found, hits)
    opened = OPENING.match(text, position)
    if opened is not None:
        start, end = quoted(text, opened)
        if found.kind == "cookie" and "=" in text[start:end]:
            hits += cookie_values(text, start, end)
        elif hides(found, key, text[start:end]):
            scheme = _SCHEME.match(text, start, end) if found.kind == "credentials" else None
            hits.append((scheme.end() if scheme else start, end, found.kind))
        return end
    if found.kind == "prompt":
        return position
    if separator[0] in "\\\"'" and (number := _JSON_NUMBER.match(text, position)) is not None:
        if hides(found, key, number[0]):
            hits.append((position, number.end(), found.kind))
        return number.end()
    if found.kind in ("credentials", "cookie") and ("=" not in separator or spaced):
        return _header_value(text, position, found, hits)
    if not spaced and separator == ":" and _SCOPE.match(text, position) is not None:
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
    if scheme is None and _is_prose(text, position, shown, separator, spaced, found):
        return position
    if found.kind in _GROUPED and (whole := _GROUPED[found.kind].match(text, position)) is not None:
        hits.append((position, whole.end(), found.kind))
        return whole.end()
    end = _end_of_value(text, value)
    hits.append((value.start(), end, found.kind))
    return end


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
    return LETTERS.fullmatch(value) is not None


def _judge_list(text: str, position: int, key: str, found: Meaning, hits: list[Hit]) -> int:
    """Quoted members of a list behind a secret's key: ["a","b"]."""
    if text[position] != "[":
        return position
    end = position + 1
    while (opened := OPENING.match(text, end)) is not None:
        start, end = quoted(text, opened)
        if hides(found, key, text[start:end]):
            hits.append((start, end, found.kind))
        end += len(opened[1])
        while end < len(text) and text[end] in ", \t\r\n":
            end += 1
    return end


def _named(text: str, meaning: Judge, position: int) -> tuple[Meaning, int] | None:
    """The meaning of a quoted name, where it names a secret, and its end."""
    opened = OPENING.match(text, position)
    if opened is None:
        return None
    start, end = quoted(text, opened)
    if not 2 <= end - start <= 64 or " " in text[start:end].strip():
        return None
    found = meaning(text[start:end].rpartition("/")[2].rpartition(".")[2])
    return None if found is None or not found.sure else (found, end + len(opened[1]))


def _find_named_content(text: str, end: int, found: Meaning, hits: list[Hit]) -> None:
    """<input name="password">x</…>, and a part of a form named so."""
    inside = _IN_TAG.match(text, end)
    if (
        inside is not None
        and inside[1].strip()
        and "value" not in text[end : inside.start(1)].lower()
    ):
        if hides(found, "", inside[1].strip()):
            hits.append((inside.start(1), inside.end(), found.kind))
        return
    part = _PART.match(text, end)
    if part is not None and part.end() < len(text):
        until = _PART_END.search(text, part.end())
        hits.append((part.end(), until.start() if until else len(text), found.kind))


def _digits_of(kind: str, text: str, position: int) -> bool:
    return kind == "card" and _DIGITS.match(text, position) is not None


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
    if scheme is None and LETTERS.fullmatch(word) and not word.isupper():
        return position  # prose: credentials: none were given
    value = _BEGINNING.match(text, start)
    if value is None:
        return position
    end = _end_of_value(text, value)
    hits.append((start, end, found.kind))
    return end
