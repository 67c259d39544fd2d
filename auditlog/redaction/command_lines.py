"""Find secrets in the command lines of programs.  Pure.

    curl -u alice:hunter22x https://x     mysql -phunter22x     tool --password hunter22x

A long option is judged by its name, as any key is.  What short options mean depends on the program,
so the table below says it.  A program may start another, as docker exec does, or a command line in
quotes.  The same rules judge a text and a list of arguments.

Invariants (tests of the same name in tests/auditlog/redaction/test_command_lines.py):
  alike    a command line and the list of its arguments lose the same secrets
  kept     the same option of another program is left alone
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from auditlog.redaction.key_meaning import Meaning
from auditlog.redaction.looks import is_fact, is_masked, is_redacted

__all__ = ["Token", "find_in_command_line", "secret_arguments"]

Token = tuple[int, int, str]
"""Where a word of the command line starts and ends, and the word without quotes."""

_NAME: Final = re.compile(r"(?<![\w.-])[\w.-]++(?=[\s\"'])")
_WORD: Final = re.compile(r"\"([^\"]{0,4096})\"|'([^']{0,4096})'|[^\s|;&]{1,4096}")
_FLAG: Final = re.compile(r"(?<![^\s\"'(])-{1,2}([A-Za-z][\w.-]{1,63})[ \t]{1,4}(?=[^\s-])")
_OPTION: Final = re.compile(r"--?([A-Za-z][\w.-]{1,63})")

# How a program takes a secret: "next" the following word, "user" a following user:password,
# "glued" what follows the option in the same word, "both" either.
_PROGRAMS: Final[dict[str, dict[str, str]]] = {
    "curl": {"-u": "user", "--user": "user", "-U": "user", "--proxy-user": "user", "-b": "cookie",
             "--cookie": "cookie", "--oauth2-bearer": "next", "--pass": "next"},
    "wget": {"--user": "", "--password": "next"},
    "http": {"-a": "user", "--auth": "user"},
    "https": {"-a": "user", "--auth": "user"},
    "mysql": {"-p": "glued"}, "mysqldump": {"-p": "glued"}, "mysqladmin": {"-p": "glued"},
    "mariadb": {"-p": "glued"}, "mariadb-dump": {"-p": "glued"}, "mysqlimport": {"-p": "glued"},
    "mysqlsh": {"-p": "glued"}, "xtrabackup": {"-p": "glued"},
    "sshpass": {"-p": "both"},
    "docker": {"-p": "login"}, "podman": {"-p": "login"}, "buildah": {"-p": "login"},
    "nerdctl": {"-p": "login"}, "helm": {"-p": "login"}, "skopeo": {"--creds": "user"},
    "az": {"-p": "login"}, "oc": {"-p": "login", "-t": "login"}, "cf": {"-p": "login"},
    "argocd": {"-p": "login"},
    "mongo": {"-p": "both"}, "mongosh": {"-p": "both"}, "mongodump": {"-p": "both"},
    "mongorestore": {"-p": "both"}, "mongoexport": {"-p": "both"}, "mongoimport": {"-p": "both"},
    "redis-cli": {"-a": "both"}, "redis-benchmark": {"-a": "both"}, "keydb-cli": {"-a": "both"},
    "ldapsearch": {"-w": "both"}, "ldapadd": {"-w": "both"}, "ldapmodify": {"-w": "both"},
    "ldapdelete": {"-w": "both"}, "ldappasswd": {"-w": "both", "-s": "both", "-a": "both"},
    "ldapwhoami": {"-w": "both"},
    "sqlcmd": {"-P": "both"}, "bcp": {"-P": "both"}, "isql": {"-P": "both"}, "tsql": {"-P": "both"},
    "influx": {"-password": "next", "-t": "next"}, "clickhouse-client": {"--password": "next"},
    "cqlsh": {"-p": "both"}, "zip": {"-P": "both", "-p": ""}, "unzip": {"-P": "both"},
    "7z": {"-p": "glued"}, "7za": {"-p": "glued"}, "rar": {"-p": "glued", "-hp": "glued"},
    "unrar": {"-p": "glued"},
    "openssl": {"-passin": "pass", "-passout": "pass", "-pass": "pass", "-k": "next",
                "-password": "pass", "-passwd": "next"},
    "smbclient": {"-U": "percent"}, "rpcclient": {"-U": "percent"}, "winexe": {"-U": "percent"},
    "net": {"-U": "percent"}, "rclone": {}, "rabbitmqctl": {}, "sqlplus": {}, "vault": {},
    "wpa_passphrase": {},
    "plink": {"-pw": "next"}, "pscp": {"-pw": "next"}, "psftp": {"-pw": "next"},
    "putty": {"-pw": "next"}, "kitty": {"-pw": "next"},
    "snmpget": {"-A": "next", "-X": "next", "-c": "next"},
    "snmpwalk": {"-A": "next", "-X": "next", "-c": "next"},
    "ipmitool": {"-P": "both"}, "xfreerdp": {"/p": "colon"}, "rdesktop": {"-p": "both"},
    "htpasswd": {"-b": "last", "-nb": "last", "-bn": "last", "-cb": "last", "-bc": "last",
                 "-nbB": "last", "-Bbn": "last", "-bB": "last"},
    "lftp": {"-u": "comma"}, "ncftp": {"-p": "both"},
    "amqp-publish": {"--password": "next"}, "mosquitto_pub": {"-P": "both", "--pw": "next"},
    "mosquitto_sub": {"-P": "both", "--pw": "next"}, "rabbitmqadmin": {"-p": "next"},
    "psexec": {"-p": "next"}, "hydra": {"-p": "next"}, "crackmapexec": {"-p": "next"},
    "usermod": {"-p": "next"}, "useradd": {"-p": "next"},
}  # fmt: skip
_BEGINNINGS: Final[dict[str, dict[str, dict[str, str]]]] = {
    name: {
        beginning: {option: how for option, how in options.items() if option[:2] == beginning}
        for beginning in {option[:2] for option in options}
    }
    for name, options in _PROGRAMS.items()
}
"""The options of each program by their first two characters."""
# Programs that take a secret as a positional argument: the subcommand, and how far behind it.
_PLAIN: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "net": (("user", 2),),
    "rabbitmqctl": (("add_user", 2), ("change_password", 2)),
    "vault": (("login", 1),),
    "redis-cli": (("auth", 1), ("auth", 2)),  # perhaps after a user's name
    "wpa_passphrase": (("", 2),),
    "rclone": (("obscure", 1),),
}
_MARKS: Final = {"user": ":", "percent": "%", "comma": ","}
_MOST_PROGRAMS: Final = 4
"""Programs of one command line that are looked at, so that a hostile one costs little more."""


def find_in_command_line(
    text: str,
    lowered: str,
    meaning: Callable[[str], Meaning | None],
    hits: list[tuple[int, int, str]],
) -> None:
    """Add the spans of secrets in a command line, which may stand inside a longer text."""
    if "-" in text:
        for flag in _FLAG.finditer(text):
            found = _meaning_of(flag[1], flag[0], meaning)
            if found is not None:
                word = _WORD.match(text, flag.end())
                if word is not None and _is_value(_inner(word)[2], found):
                    start, end, _ = _inner(word)
                    hits.append((start, end, found.kind))
    if " -" not in text and "net " not in lowered and "login" not in lowered and "auth" not in lowered and "rabbit" not in lowered and "/p" not in text and "sqlplus" not in lowered and "wpa_" not in lowered and "rclone" not in lowered:  # fmt: skip
        return
    _find_of_programs(text, 0, len(text), hits, None)


def _find_of_programs(
    text: str, start: int, stop: int, hits: list[tuple[int, int, str]], around: list[int] | None
) -> None:
    """Add the secrets of the command lines between two places of a text.

    ``around`` has how many programs of a command line around them are still looked at.
    """
    end = start
    for program in _NAME.finditer(text, start, stop):
        name = program[0].removesuffix(".exe")
        if name not in _PROGRAMS or program.start() < end:
            continue
        left = [_MOST_PROGRAMS] if around is None else around
        if not left[0]:
            return
        tokens: list[Token] = []
        end = program.start()
        for word in _WORD.finditer(text, end, stop):
            between = text[end : word.start()]
            if len(tokens) >= 64:
                break
            if between not in ("", " ") and any(c in "|;&\n" for c in between):
                break
            tokens.append(_inner(word))
            end = word.end()
        # The first word may have a quote or ".exe" after the name.
        words = [name, *(word for _, _, word in tokens[1:])]
        hits += [
            (tokens[index][0] + first, tokens[index][0] + last, "command_line")
            for index, first, last in _of_programs(words, left)
        ]
        for first, last, inner in tokens:
            if " " in inner:
                _find_of_programs(text, first, last, hits, left)


def secret_arguments(
    arguments: Sequence[object], meaning: Callable[[str], Meaning | None]
) -> list[tuple[int, int, int, str]]:
    """(index, start, end, rule) of every secret in a list of arguments."""
    words = [argument if isinstance(argument, str) else "" for argument in arguments]
    found: list[tuple[int, int, int, str]] = []
    for index, word in enumerate(words[:-1]):
        if not word.startswith("-") or (option := _OPTION.fullmatch(word)) is None:
            continue
        kind = _meaning_of(option[1], word, meaning)
        value = words[index + 1]
        if kind is not None and not value.startswith("--") and _is_value(value, kind):
            found.append((index + 1, 0, len(value), kind.kind))
    found += [(*secret, "command_line") for secret in _of_programs(words, [_MOST_PROGRAMS])]
    return found


def _meaning_of(name: str, option: str, meaning: Callable[[str], Meaning | None]) -> Meaning | None:
    """Only a long option has a name: two dashes, or one and at least four letters."""
    if not option.startswith("--") and len(name) < 4:
        return None
    found = meaning(name)
    return None if found is None or not found.sure else found


def _is_value(value: str, found: Meaning) -> bool:
    if not value or is_redacted(value) or is_masked(value) or is_fact(value):
        return False
    return not (value.isdigit() and (found.plural or found.kind == "prompt"))


def _inner(word: re.Match[str]) -> Token:
    group = word.lastindex or 0
    return *word.span(group), word[group]


def _of_programs(words: Sequence[str], left: list[int]) -> list[tuple[int, int, int]]:
    """(index, start, end) of the secrets of each program among the words: one may start another.

    ``left`` has how many programs may be looked at, and then how many are left.
    """
    found: list[tuple[int, int, int]] = []
    for index, word in enumerate(words[:64]):
        name = word.rpartition("/")[2].strip("\\\"'$(").removesuffix(".exe")
        if name in _PROGRAMS:
            found += [
                (index + place, start, end)
                for place, start, end in _of_program(name, words[index : index + 256])
            ]
            left[0] -= 1
            if not left[0]:
                break
    return found


def _of_program(name: str, words: Sequence[str]) -> list[tuple[int, int, int]]:
    """(index, start, end) of the secrets in the program's words, the first being its name."""
    found: set[tuple[int, int, int]] = set()
    for subcommand, distance in _PLAIN.get(name, ()):
        behind = _place_of(subcommand, words) if subcommand else 0
        if behind is not None and behind + distance < len(words):
            place = behind + distance
            if not words[place].startswith(("/", "-", "*", "token=")):
                found.add((place, 0, len(words[place])))
    if name == "sqlplus" and (place := _place_of_logon(words)) < len(words):
        slash, at = words[place].find("/"), words[place].find("@")
        if slash > 0 and not 0 <= at < slash:
            found.add((place, slash + 1, at if at > slash else len(words[place])))
    options, beginnings = _PROGRAMS[name], _BEGINNINGS[name]
    login = "login" in words[:4]
    for index, word in enumerate(words[1:], 1):
        how = options.get(word)
        if how is None:
            if (alike := beginnings.get(word[:2])) is not None:
                found.update(_glued(index, word, alike))
            continue
        following = words[index + 1] if index + 1 < len(words) else ""
        if (mark := _MARKS.get(how)) is not None:
            at = following.find(mark)
            if at > 0 or (at == 0 and how == "user"):
                found.add((index + 1, at + 1, len(following)))
        elif how in ("next", "both") or (how == "login" and login):
            if following and not following.startswith("--"):
                found.add((index + 1, 0, len(following)))
        elif how == "cookie" and "=" in following:
            found.add((index + 1, following.index("=") + 1, len(following)))
        elif how == "pass" and following.startswith("pass:"):
            found.add((index + 1, 5, len(following)))
        elif how == "last" and following:
            found.add((len(words) - 1, 0, len(words[-1])))
    return [(i, s, e) for i, s, e in found if s < e and not is_redacted(words[i][s:e])]


def _place_of(subcommand: str, words: Sequence[str]) -> int | None:
    """Return where the subcommand stands behind the program's options and their values."""
    for place, word in enumerate(words[1:16], 1):
        before = words[place - 1]
        if word.lower() == subcommand and before != "-h":  # a host may have its name
            return place
        if not word.startswith("-") and not before.startswith("-"):
            return None
    return None


def _place_of_logon(words: Sequence[str]) -> int:
    """Return where SQL*Plus expects user/password, which may be the end of the words."""
    place = 1
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place].upper() in ("-C", "-M", "-R") else 1
    return place


def _glued(index: int, word: str, options: dict[str, str]) -> list[tuple[int, int, int]]:
    for option, how in options.items():
        if how in ("glued", "both") and word.startswith(option) and not option.startswith("--"):
            return [(index, len(option), len(word))]
        if how == "colon" and word.startswith(f"{option}:"):
            return [(index, len(option) + 1, len(word))]
        if (how == "user" and word.startswith(f"{option}=")) or (
            how == "user" and len(option) == 2 and word.startswith(option) and ":" in word
        ):
            return [(index, word.index(":") + 1, len(word))] if ":" in word else []
    return []
