from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

import auditlog
from auditlog import durable_fs
from auditlog.redaction.installation_key import InstallationKey

_TOKEN = "ghp_9aPxQ2LmZ7tRkV4bNsW8cJ1dHf6gY3uEoT5i"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ".auditlog").mkdir()
    return tmp_path


def test_one_key(directory: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(
            pool.map(lambda _: InstallationKey(directory / ".auditlog").read_or_make(), range(32))
        )
    assert len(set(keys)) == 1
    assert [path.name for path in (directory / ".auditlog").iterdir()] == ["redaction.key"]


def test_private(directory: Path) -> None:
    key = InstallationKey(directory / ".auditlog")
    key.read_or_make()
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "00", "no hex at all"])
def test_optional(directory: Path, content: str) -> None:
    key = InstallationKey(directory / ".auditlog")
    key.path.write_text(content)
    assert key.read_or_make() is None
    assert key.id() is None
    with auditlog.open(directory, service="a", host="b") as log:
        log.emit("a.b", details={"token": _TOKEN})
    assert b"[redacted:github_token]" in _content(directory) or b"[redacted:token]" in _content(
        directory
    )


def test_two_hosts_that_share_the_key_have_the_same_fingerprints(tmp_path: Path) -> None:
    prints = []
    for name in ("one", "two"):
        directory = tmp_path / name
        with auditlog.open(directory, service="a", host=name) as log:
            log.emit("a.b", reason=f"used {_TOKEN} twice")
        prints.append(
            next(
                r.fields["reason"]
                for r in auditlog.read(directory, log_events=True)
                if r.event_type == "a.b"
            )
        )
        (tmp_path / "two/.auditlog").mkdir(parents=True, exist_ok=True)
        if name == "one":
            key = (directory / ".auditlog/redaction.key").read_bytes()
            (tmp_path / "two/.auditlog/redaction.key").write_bytes(key)
            (tmp_path / "two").chmod(0o700)
    assert prints[0] == prints[1]
    assert prints[0].startswith("used hmac-sha256:")


def test_the_chain_tells_which_key_was_in_use(tmp_path: Path) -> None:
    for _ in range(2):
        with auditlog.open(tmp_path, service="a", host="b") as log:
            log.emit("a.b", reason=f"used {_TOKEN} twice")
    opened = [
        orjson.loads(r.line)["details"]
        for r in auditlog.read(tmp_path, log_events=True)
        if r.event_type == "log.opened"
    ]
    assert [details.get("redaction_key") for details in opened] == [
        None,
        InstallationKey(tmp_path / ".auditlog").id(),
    ]


def _content(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("*.ndjson"))


def test_rotated(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rotated: at any instant there is a whole key, and the key before is kept"""
    key = InstallationKey(directory / ".auditlog")
    assert key.prepare_rotation() is None
    first, first_id = key.read_or_make(), key.id()
    seen: list[bytes | None] = []
    for name in ("create_durably", "rename", "fsync_directory"):
        real = getattr(durable_fs, name)

        def observed(*args: object, real: object = real) -> object:
            seen.append(key.read_or_make())
            result = real(*args)  # type: ignore[operator]  # the function of that name
            seen.append(key.read_or_make())
            return result

        monkeypatch.setattr(durable_fs, name, observed)
    ids = key.prepare_rotation()
    assert ids == key.prepare_rotation(), "one that a killed run prepared is taken"
    key.rotate()
    assert ids == (first_id, key.id())
    assert set(seen) == {first, key.read_or_make()}
    kept = directory / ".auditlog" / f"redaction.key.{first_id}"
    assert bytes.fromhex(kept.read_text()) == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
