"""Check the running agent, and that each sink is reachable and ready for shipping.

Looks only: the index templates, for one, are put by `auditctl setup elasticsearch`.
"""

from __future__ import annotations

import http.client
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from auditctl.composition.sinks import elasticsearch_credentials
from auditctl.doctor.check_result import CheckResult
from auditctl.errors import ConfigError
from shippers.errors import ShipperError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import ElasticsearchConfig, SinkConfig, SqliteConfig
    from shippers.sinks.elasticsearch.setup_plan import SetupPlan

__all__ = ["check_agent", "check_sink"]

_SECONDS: Final = 3.0
_OK: Final = 200


def check_agent(config: Config) -> CheckResult:
    """Whether an agent answers on the metrics' address, and says that it is ready."""
    if config.metrics is None:
        return CheckResult("agent", "ok", "it serves no metrics, so it is not asked")
    connection = http.client.HTTPConnection(
        config.metrics.host, config.metrics.port, timeout=_SECONDS
    )
    where = f"http://{config.metrics}/readyz"
    mend = "systemctl status the agent's unit; or start it: auditctl agent"
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        if answer.status == _OK:
            return CheckResult("agent", "ok", f"{where} says ready")
        return CheckResult("agent", "warn", f"{where} answers {answer.status}", f"curl {where}")
    except (OSError, http.client.HTTPException):
        return CheckResult("agent", "warn", f"no agent answers at {where}", mend)
    finally:
        connection.close()


def check_sink(sink: SinkConfig, sources: Sequence[str] = ()) -> Iterator[CheckResult]:
    """Of the sink; ``sources`` are the names of what is shipped to it besides the audit logs."""
    name = f"sink {sink.name}"
    for warning in sink.warnings() if sink.kind == "elasticsearch" else ():
        reason, _, mend = warning.partition("; ")
        yield CheckResult("credentials", "warn", reason, mend)
    try:
        if sink.kind == "sqlite":
            yield _sqlite(name, sink)
        else:
            yield from _elasticsearch(name, sink, sources)
    except (ConfigError, ShipperError) as error:
        yield CheckResult(name, "fail", str(error), error.hint or "Mend the configuration.")


def _sqlite(name: str, sink: SqliteConfig) -> CheckResult:
    path = sink.path
    if not path.exists():
        return CheckResult(name, "ok", f"{sink.address} is made with the first record")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        mend = f"ls -ld {path.parent} {path}: both have to be the agent's"
        return CheckResult(name, "fail", f"{path} cannot be written to", mend)
    try:
        uri = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_SECONDS)) as connection:
            connection.execute("SELECT log FROM records LIMIT 1").fetchone()
    except sqlite3.Error as error:
        mend = "Name a file that this program made, or one that does not exist yet."
        return CheckResult(name, "fail", f"{path}: {error}", mend)
    return CheckResult(name, "ok", f"{path} can be read and written")


def _elasticsearch(
    name: str, sink: ElasticsearchConfig, sources: Sequence[str]
) -> Iterator[CheckResult]:
    plan = _plan(sink, sources)
    if all(finding.state == "missing" for finding in plan.checks):
        detail = f"{sink.address}: {plan.checks[0].detail}"
        yield CheckResult(name, "fail", detail, "Check address, network and credentials.")
        return
    for found in plan.checks:
        detail = f"{found.check}: {found.detail}"
        mend = found.hint or f"auditctl setup elasticsearch --sink {sink.name}"
        if found.state == "ok":
            yield CheckResult(name, "ok", detail)
        elif found.check == "privileges" and found.state == "missing":
            yield CheckResult(name, "fail", detail, mend)
        else:
            yield CheckResult(name, "warn", detail, mend)


def _plan(sink: ElasticsearchConfig, sources: Sequence[str]) -> SetupPlan:
    # Imported here: the Elasticsearch client takes a third of a second.
    from shippers.sinks.elasticsearch.cluster import Setup  # noqa: PLC0415  (see above)
    from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (see above)

    connection = Connection(sink, elasticsearch_credentials(sink))
    try:
        return Setup(connection, connection, sources).plan()
    finally:
        connection.close()
