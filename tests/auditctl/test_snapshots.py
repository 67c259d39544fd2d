"""Compare rendered output at three widths with files: tests/auditctl/snapshots/*.txt.

AUDITLOG_TEST_UPDATE_SNAPSHOTS=1 writes them anew; the difference is what a review then looks at.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from auditctl.commands.search import _histogram
from auditctl.commands.status import _screen
from auditctl.config.model import Config
from auditctl.config.sinks import ElasticsearchConfig, SqliteConfig
from auditctl.output.render import print_line, record_block, record_line, width
from auditctl.survey.survey import survey
from auditlog.cursors import Cursor, CursorStore
from auditlog.format.record import decode
from retention.memory import RunStore
from retention.policy import RetentionPolicy
from tests.support.logs import START, LogBuilder, make_line, write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditctl.survey.survey import Survey

PLACE: Final = Path(__file__).parent / "snapshots"
WIDTHS: Final = (60, 80, 120)
UPDATE: Final = os.environ.get("AUDITLOG_TEST_UPDATE_SNAPSHOTS") == "1"


def ships(built: LogBuilder, sink: str, count: int) -> None:
    header = built.headers[count - 1]
    segment = next(n.logical for n in reversed(built.names) if n.day.isoformat() <= header.day)
    offset = sum(len(line) for line in built.lines[:count]) if len(built.names) == 1 else 0
    cursor = Cursor(built.log, segment, offset, count, header.hash, START)
    CursorStore(built.directory / ".auditlog").save(sink, cursor)


def looked(directory: Path, *, healthy: bool) -> Survey:
    """Two logs and two sinks at noon; what is not healthy has a sink behind and late retention."""
    queen = write_log(directory, records=40, segments=3, days=1)
    queen.compress(0)
    hive = write_log(directory, "rbee-hive@gpu-1.example.org+2", records=1500, at=queen.at)
    now = hive.at + dt.timedelta(minutes=3)
    for built in (queen, hive):
        ships(built, "main", built.seq)
        ships(built, "copy", built.seq if healthy else 10)
    config = Config(
        directories=(directory,),
        sinks=(
            SqliteConfig("copy", Path("/var/lib/sink.sqlite")),
            ElasticsearchConfig(name="main", urls=("http://127.0.0.1:1",)),
        ),
    )
    last = now - dt.timedelta(hours=5 if healthy else 75)
    RunStore(directory / ".auditlog").save(directory, last, RetentionPolicy(), (), {})
    return survey(config, (directory,), config.state_directory(), now)


def status_healthy(directory: Path) -> Iterator[str]:
    return _screen(looked(directory, healthy=True))


def status_problems(directory: Path) -> Iterator[str]:
    return _screen(looked(directory, healthy=False))


def search_by_hour(directory: Path) -> Iterator[str]:
    del directory
    counts = (3, 0, 12, 240, 1200, 77, 1)
    return _histogram("hour", [(f"2026-11-23T{hour:02}", n) for hour, n in enumerate(counts, 7)])


def records(directory: Path) -> Iterator[str]:
    del directory
    lines = (
        make_line("queen-rbee@hive1", 7)[0],
        make_line(
            "rbee-hive@gpu-1.example.org+2",
            1234567,
            event_type="seal_verification_failed",
            severity="critical",
            outcome="failure",
            reason="the digest does not match",
            resource={"resource_type": "shard", "resource_id": "shard-9"},
            details={"expected": "ab" * 16, "found": "cd" * 16, "retries": 3, "gpu": {"id": 1}},
        )[0],
    )
    for line in lines:
        yield record_line(decode(line), width())
    yield from record_block(decode(lines[1]))


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize(
    "shown", [status_healthy, status_problems, search_by_hour, records], ids=lambda f: f.__name__
)
def test_what_people_see(
    shown: Callable[[Path], Iterator[str]],
    columns: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(tmp_path)  # so that the directory's name is as long everywhere
    for line in shown(Path("audit")):
        print_line(line)
    out = capsys.readouterr().out
    path = PLACE / f"{shown.__name__}.{columns}.txt"
    if UPDATE:
        path.write_text(out, "utf-8")
    assert out == path.read_text("utf-8")
    if shown is not records:  # whose block has every value, however long
        assert max(map(len, out.splitlines())) <= columns
