from __future__ import annotations

import pytest

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
