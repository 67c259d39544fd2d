"""The units by systemd's own tools, and the users and directories by really making them.

No systemd runs the units here: what they start is started with their users, groups, umask and
without the right to make memory executable.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

import auditlog
from auditlog.cursors import CursorStore
from tests.support.operations import DEPLOY, ran
from tests.support.ports import free_port
from tests.support.waiting import eventually

UNITS: Final = ("auditlog-agent", "auditlog-retention")
ROOT: Final = DEPLOY.parent


def auditctl(*arguments: object) -> str:
    return ran(sys.executable, "-m", "auditctl", *arguments, cwd=ROOT)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A host's file system, as far as systemd's tools look at one."""
    root = tmp_path / "image"
    auditctl("install", "--root", root, "--program", "/usr/bin/auditctl")
    for program in ("usr/bin/auditctl", "bin/kill"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).symlink_to("/bin/true")
        (root / program).unlink()
        shutil.copy("/bin/true", root / program)
    for target in ("sysinit", "basic", "multi-user", "network-online"):
        path = root / f"etc/systemd/system/{target}.target"
        path.write_text(f"[Unit]\nDescription={target}\n")
    for service in ("queen-rbee", "rbee-hive"):
        path = root / f"etc/systemd/system/{service}.service"
        path.write_text("[Service]\nExecStart=/usr/bin/auditctl\nUser=llama-orch\n")
    return root


def test_the_units_and_the_drop_ins_are_valid(needs: Callable[..., None], image: Path) -> None:
    needs("systemd-analyze")
    services = [f"{name}.service" for name in (*UNITS, "queen-rbee", "rbee-hive")]
    printed = ran("systemd-analyze", "verify", f"--root={image}", *services)
    assert not printed.strip(), printed


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_of_each_unit_is_below_two(
    needs: Callable[..., None], image: Path, unit: str
) -> None:
    needs("systemd-analyze")
    path = image / f"etc/systemd/system/{unit}.service"
    printed = ran("systemd-analyze", "security", "--offline=yes", "--no-pager", path)
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", printed)
    assert match, printed
    assert float(match[1]) < 2.0


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("call", ["setpriority", "ioprio_set"])
def test_the_units_may_lower_the_priority_of_a_thread(
    needs: Callable[..., None], unit: str, call: str
) -> None:
    """Verification and retention do, and say in the journal when they must not."""
    needs("systemd-analyze")
    allowed = False
    for line in (DEPLOY / f"systemd/{unit}.service").read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.removeprefix("SystemCallFilter=").removeprefix("~").split()
            if call in itertools.chain.from_iterable(map(calls_of, words)):
                allowed = "=~" not in line
    assert allowed


def calls_of(word: str) -> set[str]:
    """The system calls of a set, and of the sets in it (systemd.exec(5))."""
    if not word.startswith("@"):
        return {word}
    listed = ran("systemd-analyze", "syscall-filter", "--no-pager", word).split("\n")[1:]
    members = [line.strip() for line in listed if line.strip() and line.strip()[0] != "#"]
    return set(itertools.chain.from_iterable(map(calls_of, members)))


def test_the_unit_of_a_witness_is_valid_and_its_exposure_below_two(
    needs: Callable[..., None], image: Path
) -> None:
    """It is for another host, so `auditctl install` does not lay it out."""
    needs("systemd-analyze")
    path = image / "etc/systemd/system/auditlog-witness.service"
    assert not path.exists()
    shutil.copy(DEPLOY / "systemd/auditlog-witness.service", path)
    printed = ran("systemd-analyze", "verify", f"--root={image}", path.name)
    assert not printed.strip(), printed
    printed = ran("systemd-analyze", "security", "--offline=yes", "--no-pager", path)
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", printed)
    assert match, printed
    assert float(match[1]) < 2.0


def test_what_is_installed_is_what_deploy_holds(image: Path) -> None:
    for unit in UNITS:
        installed = image / f"etc/systemd/system/{unit}.service"
        assert installed.read_text() == (DEPLOY / f"systemd/{unit}.service").read_text()
    printed = auditctl("install", "--root", image, "--program", "/usr/bin/auditctl", "--json")
    assert '"state":"create"' not in printed
    assert '"state":"update"' not in printed
    assert printed.count('"state":"unchanged"') == 7


def test_a_dry_run_shows_everything_and_does_nothing(tmp_path: Path) -> None:
    printed = auditctl("install", "--root", tmp_path / "root", "--dry-run", "--user", "shipper")
    assert printed.count("create") == 7
    assert not (tmp_path / "root").exists()


def test_the_configuration_that_is_installed_is_valid(image: Path) -> None:
    path = image / "etc/auditlog/config.toml"
    assert "ok: 2 directories, 1 source, 1 sink" in auditctl("config", "check", "--config", path)


# With real users ----------------------------------------------------------------------------------


@pytest.fixture
def host(needs: Callable[..., None]) -> Iterator[Path]:
    """Users and directories as systemd makes them at boot, below a directory of their own."""
    needs("systemd-sysusers", "systemd-tmpfiles")
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become other users")
    root = Path(tempfile.mkdtemp(prefix="auditlog-host-"))
    try:
        root.chmod(0o755)
        auditctl("install", "--root", root, "--program", "/usr/bin/auditctl")
        ran("systemd-sysusers", f"--root={root}")
        ran("systemd-tmpfiles", "--create", f"--root={root}", "auditlog.conf")
        _lend_python(root)
        yield root
    finally:
        for place in READABLE:
            subprocess.run(["umount", "-l", root / place], capture_output=True, check=False)
        shutil.rmtree(root)


READABLE: Final = {
    "python": Path(sys.base_prefix),
    "packages": Path(sysconfig.get_path("purelib")),
    "source": ROOT,
}
"""Directories that other users need to run this program; they may be below /root."""


def _lend_python(root: Path) -> None:
    for place, real in READABLE.items():
        (root / place).mkdir()
        mounted = subprocess.run(
            ["mount", "--bind", "-o", "ro", real, root / place], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"nothing can be mounted: {mounted.stderr.decode().strip()}")


def ids(host: Path) -> dict[str, int]:
    lines = (host / "etc/passwd").read_text().splitlines()
    return {line.split(":")[0]: int(line.split(":")[2]) for line in lines}


def as_user(host: Path, user: str, *groups: str) -> dict[str, Any]:
    """How to start a process as the unit's user, with its umask."""
    numbers = ids(host)
    return {
        "user": numbers[user],
        "group": numbers[user],  # sysusers gives a user's group the same number
        "extra_groups": [numbers[group] for group in groups],
        "umask": 0o027,
        "cwd": "/",
        "env": {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{host / 'source'}:{host / 'packages'}",
            "LD_LIBRARY_PATH": str(host / "python/lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    }


def python(host: Path) -> str:
    return str(host / f"python/bin/python{sys.version_info.major}.{sys.version_info.minor}")


AUDITCTL: Final = """
import ctypes, sys
# PR_SET_MDWE, as MemoryDenyWriteExecute= (Linux 6.3 and newer)
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
from auditctl.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_shipper_reads_and_cannot_write_and_retention_believes_its_cursors(
    host: Path,
) -> None:
    audit, state = host / "var/log/llama-orch/audit", host / "var/lib/auditlog"
    config = host / "etc/auditlog/config.toml"
    index = state / "index.sqlite"
    config.write_text(
        f"directories = ['{audit}', '{state / 'evidence'}']\nstate_dir = '{state}'\n"
        "host = 'h1'\n"
        f"[sinks.main]\nkind = 'sqlite'\npath = '{index}'\n"
    )
    write = (
        "import auditlog, datetime as dt, sys\n"
        "at = (dt.datetime.now(dt.UTC) - dt.timedelta(days=40)).timestamp()\n"
        "for days in (0, 1, 40):\n"
        "    clock = lambda: int((at + days * 86400) * 1e9)\n"
        f"    with auditlog.open({str(audit)!r}, service='queen-rbee', host='h1',\n"
        "                       group_readable=True, clock=clock) as log:\n"
        "        log.emit('pool.drained')\n"
    )
    subprocess.run([python(host), "-c", write], check=True, **as_user(host, "llama-orch"))

    def agent(part: str, user: str, *groups: str) -> subprocess.Popen[bytes]:
        options = as_user(host, user, *groups)
        options["env"]["AUDITLOG_METRICS"] = f"127.0.0.1:{free_port()}"
        command = [python(host), "-c", AUDITCTL, "agent", "--only", part]
        with (host / f"{part}.log").open("ab") as output:
            return subprocess.Popen(
                [*command, "--config", str(config)],
                stderr=output,
                **options,
            )

    records = len(list(auditlog.read(audit, log_events=True)))
    # ExecStartPre= of the unit.
    init = [python(host), "-c", AUDITCTL, "evidence", "init", "--config", str(config)]
    subprocess.run(init, check=True, capture_output=True, **as_user(host, "auditlog"))
    shipper = agent("ship", "auditlog")
    try:
        eventually(lambda: shipped(index) >= records, "the shipper reads", 60)
        # Retention believes the cursor, which follows what the sink has acknowledged.
        cursors = state / "cursors/main"
        eventually(lambda: acknowledged(state) >= records, "the cursor follows", 60)
        # Retention's own log is new; the shipper has to be able to read that, too.
        retention = agent("retain", "llama-orch", "auditlog")
        try:
            eventually(lambda: len(list(audit.glob("*.zst"))) == 2, "retention compresses", 60)
            # The shipper may write the log of checkpoints, which is shipped as any other.
            eventually(lambda: shipped(index, "evidence@h1") >= 1, "checkpoints are shipped", 60)
        finally:
            retention.terminate()
            assert retention.wait(120) == 0, (host / "retain.log").read_text()
    finally:
        shipper.terminate()
        assert shipper.wait(120) == 0, (host / "ship.log").read_text()

    said = (host / "ship.log").read_text() + (host / "retain.log").read_text()
    assert "Permission denied" not in said
    assert "not on record" not in said
    assert auditlog.verify(audit).ok
    assert auditlog.verify(state / "evidence").ok
    # Neither can do the other's work.
    for path, user in ((audit, "auditlog"), (cursors, "llama-orch")):
        tried = subprocess.run(
            [python(host), "-c", f"open({str(path / 'x')!r}, 'w')"],
            capture_output=True,
            text=True,
            check=False,
            **as_user(host, user, "auditlog"),
        )
        assert "PermissionError" in tried.stderr
    tried = subprocess.run(
        [python(host), "-c", f"import os; os.rename({str(state / 'cursors')!r}, '/tmp/gone')"],
        capture_output=True,
        text=True,
        check=False,
        **as_user(host, "llama-orch", "auditlog"),
    )
    assert "PermissionError" in tried.stderr, "the directory is sticky"


def acknowledged(state: Path) -> int:
    cursor = CursorStore(state).load("main", "queen-rbee@h1")
    return 0 if cursor is None else cursor.seq


def shipped(index: Path, log: str = "%") -> int:
    if not index.exists():
        return 0
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM records WHERE log LIKE ?", (log,))
            count: int = found.fetchone()[0]
        except sqlite3.OperationalError:
            return 0
        return count
