from __future__ import annotations

import re
import shlex

import pytest

from auditlog.redaction.command_lines import find_in_command_line, secret_arguments
from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.redactor import KEYLESS

_LINES = [
    "curl -u bob:hunter33y https://x", "curl --user=bob:hunter33y https://x", "mysql -phunter33y db",
    "sshpass -p hunter33y ssh h", "docker login -u bob -p hunter33y r", "redis-cli -a hunter33y ping",
    "tool --api-key hunter33y run", "keytool -storepass hunter33y -list", "7z x -phunter33y a.7z",
    "smbclient //h/s -U bob%hunter33y", "sqlplus bob/hunter33y@db", "htpasswd -b f bob hunter33y",
    "ldapsearch -x -w hunter33y -b dc=x", "openssl rsa -passin pass:hunter33y", "vault login hunter33y",
    "rabbitmqctl add_user bob hunter33y", "/usr/bin/mysqldump -u a -phunter33y x", "plink -pw hunter33y h",
]  # fmt: skip
_HARMLESS = [
    "curl -o out https://x", "mysql -P 3306 -u root", "ssh -p 2222 h", "docker run -p 80:80 x", "cp -a x y",
    "tool --token-limit 5 run", "grep -w word f", "mkdir -p a/b", "redis-cli -h cache ping", "net user",
    "tool --password-file /etc/x", "tool --password --verbose", "zip -r a.zip b",
]  # fmt: skip


@pytest.mark.parametrize("line", _LINES)
def test_alike(line: str) -> None:
    assert "hunter33y" not in KEYLESS.text(line, "x")
    assert "hunter33y" not in str(KEYLESS.clean({"argv": line.split()}, "x"))
    assert "hunter33y" not in KEYLESS.text(f"ran: {line} | tee log", "x")


@pytest.mark.parametrize("line", _HARMLESS)
def test_kept(line: str) -> None:
    assert KEYLESS.text(line, "x") == line
    assert KEYLESS.clean(line.split(), "x") == line.split()


def _in_text(line: str) -> set[str]:
    hits: list[tuple[int, int, str]] = []
    find_in_command_line(line, line.lower(), meaning, hits)
    return {line[start:end] for start, end, _ in hits}


def _in_arguments(words: list[str]) -> set[str]:
    return {words[index][start:end] for index, start, end, _ in secret_arguments(words, meaning)}


@pytest.mark.parametrize(
    "line",
    [
        # the word after an option of the program
        "sshpass -p hunter33y ssh host", "plink -pw hunter33y host", "mysql.exe -u bob -phunter33y db",
        # the same word as the option
        "xfreerdp /u:bob /p:hunter33y /v:host", "xfreerdp /p:hunter33y",
        # what follows a user's name, be it empty, or of one letter
        "curl -u bob:hunter33y https://x", "curl -ubob:hunter33y https://x",
        "curl -U bob:hunter33y https://x", "curl --user=bob:hunter33y https://x",
        "curl -u :hunter33y https://x", "smbclient //h/s -U b%hunter33y -c ls",
        "lftp -u bob,hunter33y host",
        # the value of a cookie; the source of a password
        "curl -b session=hunter33y https://x", "openssl rsa -passin pass:hunter33y -in key.pem",
        # the last word, even where the user's name was forgotten
        "htpasswd -b .htpasswd bo hunter33y", "htpasswd -nb bo hunter33y", "htpasswd -nb hunter33y",
        # a certain position
        "net user bob hunter33y /add", "rabbitmqctl add_user bob hunter33y",
        "rabbitmqctl change_password bob hunter33y", "vault login hunter33y", "redis-cli auth hunter33y",
        "wpa_passphrase home hunter33y", "rclone obscure hunter33y",
        # between a slash and an at sign
        "sqlplus bob/hunter33y", "sqlplus b/hunter33y@db", "sqlplus -S bob/hunter33y@db @sql/report.sql",
        "sqlplus bob/hunter33y@//host:1521/x", "sqlplus -S -L bob/hunter33y@db",
        "sqlplus -s -R 3 bob/hunter33y", "sqlplus -m 'HTML ON' -C 12.2 bob/hunter33y@db",
        # an option that any program may have
        "tool --pin 471133", "tool --password 471133", "tool -pass hunter33y -v", "tool --passwords hunter33y",
        "tool --password 'hunter33y' -v", 'tool --password "hunter33y" -v', "tool --prompt hunter33y",
        # after a subcommand within the first four words
        "docker login -u bob -p hunter33y r", "docker --config dir login -p hunter33y",
        # a subcommand behind options and their values; a host may be called as it is
        "redis-cli -h cache auth hunter33y", "redis-cli --tls -p 6379 -h cache AUTH hunter33y",
        "redis-cli -h auth auth hunter33y", f"redis-cli {'-x ' * 14}auth hunter33y",
        "rabbitmqctl -q -n rabbit@a add_user bob hunter33y",
        # a program that another one starts
        "docker exec db mysql -phunter33y app", "docker exec db /usr/bin/mysql.exe -phunter33y app",
        "docker exec inner docker login -u bob -p hunter33y", "podman run mongo mongosh -p hunter33y",
        "sudo mysql -phunter33y", "ssh host mysql -phunter33y", "echo mysql -phunter33y",
        # a program later in the line, after one that is an argument
        "docker pull mysql -q; curl -u bob:hunter33y https://x",
    ],
)  # fmt: skip
def test_the_secret_of_a_command_line_is_found_and_no_more_than_it(line: str) -> None:
    (secret,) = {"hunter33y", "471133"} & set(re.findall(r"hunter33y|471133", line))
    assert _in_text(line) == {secret}
    assert _in_arguments(shlex.split(line)) == {secret}


def test_the_user_before_the_password_of_redis_may_be_hidden_with_it() -> None:
    """Both have the place of the password in commands of before Redis 6."""
    line = "redis-cli auth bob hunter33y"
    assert _in_text(line) == _in_arguments(line.split()) == {"bob", "hunter33y"}


@pytest.mark.parametrize(
    "line",
    [
        # a mask, a variable, a fact, an earlier redaction, nothing
        "tool --password '***' -v", "tool --password ${DB_PASSWORD} -v", "tool --password '' -v",
        "tool --password denied", "tool --password [redacted:password]",
        "mysql -p[redacted:command_line] db", "curl -u bob: https://x",
        # a number that counts
        "tool --passwords 471133", "tool --prompt 471133",
        # three letters after one dash are no name
        "tool -pin 471133",
        # an option where the value would stand
        "plink -pw --help", "vault login", "vault login -method=oidc", "wpa_passphrase home", "htpasswd -nb",
        # a user without a password, a file of cookies, a variable's name
        "curl -u bob https://x", "curl -ubob https://x", "curl -b cookies.txt https://x",
        "curl --url=https://x:8080", "curl --cookie=a:b", "xfreerdp /port:3389 /v:host",
        "smbclient //h/s -U %USERNAME%", "openssl rsa -passin env:PASSWORD -in key.pem",
        # no user before the slash
        "sqlplus /nolog -S", "sqlplus bob@db -S", "sqlplus -S/x", "sqlplus bob@//host/x", "sqlplus -R 3",
        "sqlplus -S bob@db @sql/report.sql", "sqlplus bob@db sql/report", "sqlplus -R",
        "sqlplus -S @sql/report.sql",
        # the subcommand is another one
        "docker run -p 80:80 login", "docker run -p a=b:80 x", "redis-cli -h cache get auth x",
        "redis-cli -h auth ping", "redis-cli get auth", "rabbitmqctl status add_user bob x",
        f"redis-cli {'-x ' * 15}auth x",
        # a program that another one starts takes no secret so
        "docker run -p 80:80 mysql -u root", "docker exec db mysql -h host -P 3306",
    ],
)  # fmt: skip
def test_a_command_line_without_a_secret_has_none(line: str) -> None:
    assert _in_text(line) == set()
    assert _in_arguments(shlex.split(line)) == set()


@pytest.mark.parametrize(
    ("line", "secrets"),
    [
        ('docker exec db sh -c "mysql -phunter33y app"', {"hunter33y"}),
        ("docker exec db sh -c 'mysql -phunter33y app'", {"hunter33y"}),
        ("""docker exec a sh -c "docker exec b sh -c 'mysql -phunter33y app'" x""", {"hunter33y"}),
        ("docker exec db sh -c 'cd x; mysql -phunter33y app | tee y'", {"hunter33y"}),
        ("mysql -e 'curl -u bob:hunter33y x' -phunter44z", {"hunter33y", "hunter44z"}),
        ("docker exec db sh -c 'mysql -p -u bob'", set()),
        # cut short, in a string of JSON, or in a shell's parentheses: to the end of the word
        ('docker exec db sh -c "mysql -phunter33y', {"hunter33y"}),
        (r"docker exec db sh -c \"mysql -phunter33y app\"", {"hunter33y"}),
        ("docker exec db $(mysql -phunter33y app)", {"hunter33y"}),
    ],
)
def test_a_command_line_in_quotes_is_one_by_itself(line: str, secrets: set[str]) -> None:
    assert _in_text(line) == secrets


def test_the_first_four_programs_of_a_command_line_are_looked_at() -> None:
    for others, found in ((3, {"hunter33y"}), (4, set())):
        line = f"{'docker ' * others}mysql -phunter33y"
        assert _in_text(line) == _in_arguments(line.split()) == found


@pytest.mark.parametrize("mark", ["'", '"'])
def test_the_first_four_programs_of_a_command_line_are_looked_at_in_quotes_too(mark: str) -> None:
    """Each of them a command line by itself, in the same quotes or in others."""
    for others, found in ((2, {"hunter33y"}), (3, set())):
        lines = f"{'docker x; ' * others}mysql -phunter33y x"
        assert _in_text(f"docker {mark}{lines}{mark}") == found
        lines = f"{mark}docker x{mark} " * others
        assert _in_text(f"docker {lines} {mark}mysql -phunter33y x{mark}") == found
    assert _in_text(f"docker {mark}docker x{mark}; " * 9 + "mysql -phunter33y") == {"hunter33y"}


def test_an_option_before_a_pipe_has_no_value() -> None:
    assert _in_text("tool --password | tee log") == set()


def test_the_first_64_words_of_a_program_are_looked_at_in_a_text() -> None:
    assert _in_text("mysql" + " x" * 62 + " -phunter33y") == {"hunter33y"}
    assert _in_text("mysql" + " x" * 63 + " -phunter33y") == set()


def test_a_program_is_looked_for_in_64_arguments_and_its_secret_in_256() -> None:
    program = ["x"] * 63 + ["mysql"]
    assert _in_arguments([*program, *["x"] * 254, "-phunter33y"]) == {"hunter33y"}
    assert _in_arguments([*program, *["x"] * 255, "-phunter33y"]) == set()
    assert _in_arguments(["x", *program, "-phunter33y"]) == set()
