"""Count a segment's records in the sinks, for retention's ``verify_before_delete``.

A record is accounted for when the sink has it, when it is in the sink's quarantine because the sink
rejected it permanently, or when its index was deleted by policy.

Invariants (tests of the same name in tests/auditctl/composition/test_index_count.py):
  counts       every sink kind counts exactly the records of the log in the range
  quarantined  what the sink rejected is accounted for once, an alarm about the log is not
  retired      what was in an index that retention deleted is accounted for
  unreachable  a sink that cannot be asked is an error, never a number
  silent       only a user who may not read is a reason to go by the cursor alone
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditctl.composition.sinks import (
    elasticsearch_credentials,
    index_of_log,
    unanswered_hint,
)
from auditctl.errors import CommandFailed, ConfigError
from auditlog.format.segment_names import LogId
from auditlog.reading.deleted_indices import DeletedIndices
from shippers.quarantine.store import history_path

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable
    from pathlib import Path

    from auditctl.config.sinks import ElasticsearchConfig, SinkConfig, SqliteConfig

__all__ = ["SinkCounts"]

_logger = logging.getLogger("auditlog.retention")

_HINT: Final = "The sink's user needs the privilege read on its indices."
_REFUSED: Final = ("refused", "tampered", "not_a_record")


class SinkCounts:
    """Counts records in the configured sinks, with one connection for each request."""

    def __init__(
        self,
        sinks: Iterable[SinkConfig],
        state_dir: Path,
        deleted: DeletedIndices | None = None,
    ) -> None:
        self._deleted = deleted or DeletedIndices(())
        self._sinks = {sink.name: sink for sink in sinks}
        self._state_dir = state_dir

    def count(self, sink: str, log: LogId, first_seq: int, last_seq: int, *, day: dt.date) -> int:
        """Count the records from ``first_seq`` to ``last_seq`` of a day that the sink accounts for.

        Raises CommandFailed, ConfigError, ShipperError, OSError when it cannot be asked.
        """
        config = self._sinks.get(sink)
        if config is None:
            raise CommandFailed(
                f"sink {sink} is not configured, so its records cannot be counted",
                hint="Configure it, or set verify_before_delete to none.",
            )
        if config.kind == "sqlite":
            stored = _in_sqlite(config, log, first_seq, last_seq)
        elif index_of_log(config, str(log), day) in self._deleted.of(sink, config.urls):
            return last_seq - first_seq + 1
        else:
            stored = _in_elasticsearch(config, log, first_seq, last_seq)
        return stored + self._quarantined(sink, str(log), first_seq, last_seq)

    def can_count(self, sink: str) -> bool:
        """Whether the sink can be asked: a file always can, a cluster if its user may read.

        A file that is missing cannot have the records, so counting in it is an error.  A cluster
        that does not answer is one as well, since its silence says nothing about the records.
        Raises CommandFailed.
        """
        config = self._sinks.get(sink)
        if config is None:
            return False
        if config.kind == "sqlite":
            return True
        try:
            _in_elasticsearch(config, LogId("auditlog", "none"), 1, 1)
        except (_MayNotAsk, ConfigError) as error:
            _logger.warning("records are deleted by what was acknowledged alone: %s", error)
            return False
        return True

    def _quarantined(self, sink: str, log: str, first_seq: int, last_seq: int) -> int:
        path = self._state_dir / "quarantine" / f"{sink}.ndjson"
        refused: set[int] = set()
        for line in (*_lines(path), *_lines(history_path(path))):
            try:
                entry: Any = orjson.loads(line)
                seq, kind = entry.get("seq"), entry.get("kind")
            except (orjson.JSONDecodeError, AttributeError):
                continue  # torn by a crash; the shipper enters it again
            if entry.get("log") == log and kind in _REFUSED and isinstance(seq, int):
                refused.add(seq)
        return sum(first_seq <= seq <= last_seq for seq in refused)


class _MayNotAsk(CommandFailed):
    """The cluster does not let this user count."""


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _in_sqlite(config: SqliteConfig, log: LogId, first_seq: int, last_seq: int) -> int:
    # Imported here since only counting in a file needs it.
    import sqlite3  # noqa: PLC0415  (see above)

    try:
        connection = sqlite3.connect(f"{config.path.as_uri()}?mode=ro", uri=True)
        try:
            row = connection.execute(
                "SELECT count(*) FROM records WHERE log = ? AND seq BETWEEN ? AND ?",
                (str(log), first_seq, last_seq),
            ).fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise CommandFailed(
            f"sink {config.name}: its records cannot be counted ({error})",
            path=config.path,
            hint="Nothing was deleted that depends on it.",
        ) from error
    return int(row[0])


def _in_elasticsearch(
    config: ElasticsearchConfig, log: LogId, first_seq: int, last_seq: int
) -> int:
    # Imported here since only counting in a cluster needs the client.
    from shippers.sinks.elasticsearch.connection import FAILURES, Connection, trouble  # noqa: PLC0415  (see above)

    query = {
        "query": {
            "bool": {
                "filter": [
                    {"term": {"log": str(log)}},
                    {"range": {"seq": {"gte": first_seq, "lte": last_seq}}},
                ]
            }
        }
    }
    connection = Connection(config, elasticsearch_credentials(config))
    try:
        answer = connection.request(
            "POST", f"/{config.names.pattern}/_count", body=orjson.dumps(query)
        )
    except FAILURES as error:
        found = trouble(error)
        refused = _MayNotAsk if found.status in (401, 403) else CommandFailed
        raise refused(
            f"sink {config.name}: its records cannot be counted ({found.reason})",
            hint=unanswered_hint(found.status, _HINT),
        ) from error
    finally:
        connection.close()
    whole = isinstance(answer, dict) and not answer.get("_shards", {}).get("failed", 1)
    if not whole or type(answer.get("count")) is not int:
        raise CommandFailed(
            f"sink {config.name}: not all of its shards answered",
            hint="Run retention again when the cluster is healthy.",
        )
    return int(answer["count"])
