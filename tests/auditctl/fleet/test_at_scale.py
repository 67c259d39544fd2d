"""Ten thousand hosts in a real sink: exactly those that need a person are named."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from auditlog.format.record import GENESIS_HASH, format_timestamp, log_prefix, parse_header, seal
from shippers.item import Shipment
from shippers.outcome import OutcomeKind
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.protocol import Sink
from shippers.sinks.sqlite.sink import SqliteSink
from tests.auditctl.conftest import Result
from tests.support.elasticsearch import Cluster, request

HOSTS = 10_000
NOW = dt.datetime.now(dt.UTC)
YESTERDAY = NOW - dt.timedelta(days=1)
SILENT = {f"gpu-{number:05}" for number in range(500, 10_000, 1000)}
GAPPED = {f"gpu-{number:05}" for number in (7, 4711, 9999)}
TWINS = {"gpu-00042", "gpu-08000"}
RETIRED, NEW = "gpu-old", "gpu-new"


def line_of(host: str, seq: int, at: dt.datetime) -> bytes:
    """A record; the chain between records is none of the fleet's business."""
    members = b'"event_type":"log.heartbeat","service":"rbee-hive","host":"%b"' % host.encode()
    prefix = log_prefix(f"rbee-hive@{host}")
    return seal(prefix, seq, GENESIS_HASH, format_timestamp(at), members)[0]


def fleet(*, twins: bool) -> Iterator[bytes]:
    """Two records a host; what is to be found is made in place of them."""
    for number in range(HOSTS):
        host = f"gpu-{number:05}"
        at = YESTERDAY if host in SILENT else NOW
        yield line_of(host, 1, at)
        yield line_of(host, 4 if host in GAPPED else 2, at)
        if twins and host in TWINS:  # another machine began under the name on another day
            yield line_of(host, 1, YESTERDAY)
            yield line_of(host, 2, YESTERDAY)


def deliver(sink: Sink, lines: Iterator[bytes]) -> None:
    records = [Shipment(line, parse_header(line)) for line in lines]
    for start in range(0, len(records), 5000):
        outcomes = sink.deliver(records[start : start + 5000])
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.INDEXED}


def named(answer: Result) -> dict[str, str]:
    """The logs with a problem, by host, and the first word of each."""
    assert answer.code == 1
    lines = json.loads(answer.out)["lines"]
    assert len(lines) == HOSTS + 1, "and the one that is missing"
    return {
        line["name"].partition("@")[2] or line["name"]: " ".join(line["problems"])
        for line in lines
        if line["problems"]
    }


def check(found: dict[str, str], *, twins: bool) -> None:
    assert {host for host, text in found.items() if "silent since" in text} == SILENT
    missing = {host for host, text in found.items() if "2 records are missing" in text}
    assert missing == GAPPED
    forked = {host for host, text in found.items() if "two hosts may share" in text}
    assert forked == (TWINS if twins else set())
    assert found[NEW] == "missing: no record of it"
    assert set(found) == SILENT | GAPPED | forked | {NEW}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("\n".join([*(f"gpu-{number:05}" for number in range(HOSTS)), NEW]))
    return path


ASKED = ("--silent", "12h", "--json")


def test_in_sqlite(run: Callable[..., Result], tmp_path: Path, inventory: Path) -> None:
    """A file has one record of each seq, so twins are tamper alarms there and no forks."""
    path = tmp_path / "audit.sqlite"
    with closing(SqliteSink("main", path)) as sink:
        deliver(sink, fleet(twins=False))
    check(named(run("fleet", path, "--inventory", inventory, *ASKED)), twins=False)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (2 * HOSTS,)
    metrics = run("fleet", path, "--inventory", inventory, "--silent", "12h", "--metrics")
    assert metrics.out.count("} 1\n") == len(SILENT | GAPPED | {NEW})


def test_in_elasticsearch(
    run: Callable[..., Result], elasticsearch: Cluster, tmp_path: Path, inventory: Path
) -> None:
    prefix = f"fleet-{uuid.uuid4().hex[:8]}"
    options = ElasticsearchOptions((elasticsearch.url,), index_prefix=prefix, replicas=0)
    with closing(ElasticsearchSink("main", options)) as sink:
        deliver(sink, fleet(twins=True))
    request(elasticsearch.url, "POST", f"/{prefix}-*/_refresh")
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{tmp_path}"]\n[sinks.main]\nkind = "elasticsearch"\n'
        f'urls = ["{elasticsearch.url}"]\nindex_prefix = "{prefix}"\n'
    )
    answer = run("fleet", "--config", config, "--inventory", inventory, *ASKED)
    elasticsearch.forget(prefix)
    check(named(answer), twins=True)
