"""Content that another process wrote before it was killed is synced before it counts.

The first process is killed as it begins to sync: everyone reads what it wrote, and a power loss
would take it.  The second one finds it there; before it acts on that, it has synced it.
"""

from __future__ import annotations

import itertools
import re
import signal
from typing import TYPE_CHECKING

from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import tombstones_in
from tests.support.logs import write_log
from tests.support.retention_task import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditlog.format.tombstones import Tombstone
    from tests.support.forked import ForkServer

TRACE = ("-y", "-e", "trace=openat,fsync,fdatasync,unlink")  # -y: with the paths of descriptors


def killed_in_sync(
    server: ForkServer,
    places: Callable[[], Path],
    task: str,
    arguments: Callable[[Path], dict[str, object]],
    wrote: Callable[[Path], bool],
    *,
    sync: str = "fdatasync",
) -> Path:
    """Kill the task in its first sync that finds what is looked for written; the place of that."""
    for call in itertools.count(1):
        place = places()
        child = server.start(task, **arguments(place))
        status, _ = child.run(["-e", f"inject={sync}:signal=KILL:when={call}"])
        assert status == -signal.SIGKILL
        if wrote(place):
            return place
    raise AssertionError("counting does not end")


def synced_before(trace: str, path: Path, act: str) -> bool:
    """Whether the second process synced the file before it did what the pattern ``act`` says."""
    sync = re.search(rf"f(?:data)?sync\(\d+<{re.escape(str(path))}>\) += 0", trace)
    done = re.search(act, trace)
    assert done is not None, trace
    return sync is not None and sync.start() < done.start()


def test_a_tombstone_that_is_found_is_synced_before_the_segment_goes(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    def arguments(place: Path) -> dict[str, object]:
        prepare(place / "audit")
        return {"directory": place / "audit", "report": place / "report"}

    def buried(place: Path) -> list[Tombstone]:
        return list(tombstones_in(scan(place / "audit").logs))

    task = "tests.support.retention_task:prune_forked"
    place = killed_in_sync(traced, places, task, arguments, lambda place: bool(buried(place)))
    segment = place / "audit" / buried(place)[0].segment
    assert segment.exists()
    (proofs,) = (place / "audit").glob("retention@*.ndjson")
    child = traced.start(task, directory=place / "audit", report=place / "another")
    status, trace = child.run(TRACE)
    assert (status, segment.exists(), len(buried(place))) == (0, False, 1)
    assert synced_before(trace, proofs, rf'unlink\("{re.escape(str(segment))}"\) += 0')


def test_a_record_is_synced_before_it_is_shipped(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    """Its writer may be in its own sync, or was killed there; the sink keeps what it is given."""
    place = places()
    built = write_log(place / "audit", records=3)
    child = traced.start("tests.support.shipping_tasks:harvest_forked", place=place)
    status, trace = child.run(TRACE)
    assert (status, (place / "said").read_text()) == (0, "3 lines")
    assert synced_before(trace, built.paths[0], r'openat\(.*/said"')
    assert synced_before(trace, place / "audit", r'openat\(.*/said"')


def test_a_quarantined_record_that_is_found_is_synced_before_it_counts(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    def entries(place: Path) -> Path:
        return place / "quarantine" / "main.ndjson"

    def wrote(place: Path) -> bool:
        return entries(place).exists() and entries(place).stat().st_size > 0

    task = "tests.support.shipping_tasks:enter_forked"
    place = killed_in_sync(
        traced, places, task, lambda place: {"place": place}, wrote, sync="fsync"
    )
    status, trace = traced.start(task, place=place).run(TRACE)
    assert (status, (place / "said").read_text()) == (0, "0 new")
    assert synced_before(trace, entries(place), r'openat\(.*/said"')


def test_a_quarantined_record_whose_sync_failed_is_not_there_to_be_found(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    place, task = places(), "tests.support.shipping_tasks:enter_forked"
    entries = place / "quarantine" / "main.ndjson"
    entries.parent.mkdir()
    entries.touch()
    failing = ["-P", str(entries), "-e", "inject=fsync:error=EIO"]
    status, trace = traced.start(task, place=place).run(failing)
    assert (status, "EIO" in trace) == (70, True)
    assert entries.read_bytes() == b""
    status, _ = traced.start(task, place=place).run(TRACE)
    assert (status, (place / "said").read_text()) == (0, "1 new")


def test_a_record_that_sqlite_finds_is_synced_before_it_counts(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    def log(place: Path) -> Path:
        return place / "records.sqlite-wal"

    def wrote(place: Path) -> bool:
        return log(place).exists() and b'"seq":3' in log(place).read_bytes()

    task = "tests.support.shipping_tasks:deliver_forked"
    place = killed_in_sync(traced, places, task, lambda place: {"place": place}, wrote)
    status, trace = traced.start(task, place=place).run(TRACE)
    assert (status, (place / "said").read_text()) == (0, "duplicate duplicate duplicate")
    assert synced_before(trace, log(place), r'openat\(.*/said"')
