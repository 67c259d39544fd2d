"""Witnesses that one administrator rules are none."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from auditctl.config.evidence import EvidenceSettings
from auditctl.config.model import Config
from auditctl.doctor.witnesses import check_witnesses
from tests.support.trees import witness


def checked(tmp_path: Path, text: str | None, *, key: bool = True) -> list[tuple[str, str]]:
    policy = None if text is None else tmp_path / "policy"
    if policy is not None and text is not None:
        policy.write_text(text)
    if key:
        (tmp_path / "evidence.key").write_text("x")
    config = Config(
        directories=(tmp_path / "audit",),
        state_dir=tmp_path,
        evidence=EvidenceSettings(policy=policy),
    )
    return [(found.state, found.detail) for found in check_witnesses(config)]


def policy_of(rule: str, *urls: str) -> str:
    lines = [f"witness w{n} {witness(n).cosigner} {url}".strip() for n, url in enumerate(urls, 1)]
    names = " ".join(f"w{n}" for n in range(1, len(urls) + 1))
    return "\n".join([*lines, f"group g {rule} {names}", "quorum g", ""])


THREE = ("https://w.one.example", "https://w.two.example", "https://203.0.113.7:7380")


@pytest.mark.parametrize(("text", "says"), [
    ("quorum none\n", "needs no witness"),
    (policy_of("all", THREE[0]), "w1 alone is a quorum"),
    (policy_of("any", *THREE), "w1 alone is a quorum"),
])  # fmt: skip
def test_alone(tmp_path: Path, text: str, says: str) -> None:
    [(state, detail)] = checked(tmp_path, text)
    assert (state, says in detail) == ("warn", True)


@pytest.mark.parametrize(("urls", "state", "says"), [
    (("http://127.0.0.1:1", "http://127.0.0.2:2"), "warn", "in one place, this host"),
    (("https://a.one.example", "https://b.one.example"), "warn", "in one place, one.example"),
    (("http://198.51.100.1:1", "http://198.51.100.1:2"), "warn", "in one place, 198.51.100.1"),
    (THREE, "ok", "3 witnesses, in 3 places"),
    (("https://a.one.example", "https://b.one.example", THREE[1]), "ok", "in 2 places"),
])  # fmt: skip
def test_apart(tmp_path: Path, urls: tuple[str, ...], state: str, says: str) -> None:
    [(found, detail)] = checked(tmp_path, policy_of("2", *urls))
    assert (found, says in detail) == (state, True)


def test_a_key_without_a_policy_is_a_warning_and_without_a_key_it_is_none(tmp_path: Path) -> None:
    assert checked(tmp_path, None, key=False) == []
    [(state, detail)] = checked(tmp_path, None)
    assert (state, "no witness remembers" in detail) == ("warn", True)


def test_a_policy_that_cannot_be_read_fails(tmp_path: Path) -> None:
    [(state, _)] = checked(tmp_path, f"witness w1 {sha256(b'').hexdigest()}\n")
    assert state == "fail"
