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
    from shippers.sinks.elasticsearch.setup_plan import SetupCheck, SetupPlan

__all__ = ["check_agent", "check_sink"]

_SECONDS: Final = 3.0
_OK: Final = 200


def check_agent(config: Config) -> CheckResult:
    """Check that an agent answers on the metrics address and is ready."""
    if config.metrics is None:
        return CheckResult("agent", "ok", "it serves no metrics, so it cannot be asked")
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
    """Check the sink; ``sources`` are the names of the other sources that are shipped to it."""
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
        yield CheckResult(name, "fail", str(error), error.hint or "Correct the configuration.")


def _sqlite(name: str, sink: SqliteConfig) -> CheckResult:
    path = sink.path
    if not path.exists():
        return CheckResult(name, "ok", f"{sink.address} is made with the first record")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        mend = f"ls -ld {path.parent} {path}: both have to belong to the agent's user"
        return CheckResult(name, "fail", f"{path} cannot be written to", mend)
    try:
        uri = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_SECONDS)) as connection:
            connection.execute("SELECT log FROM records LIMIT 1").fetchone()
    except sqlite3.Error as error:
        mend = "Name a file that auditctl created, or one that does not exist yet."
        return CheckResult(name, "fail", f"{path}: {error}", mend)
    return CheckResult(name, "ok", f"{path} can be read and written")


def _elasticsearch(
    name: str, sink: ElasticsearchConfig, sources: Sequence[str]
) -> Iterator[CheckResult]:
    plan = _plan(sink, sources)
    # The shipper's own user sees little of the cluster, which is as it should be.
    unseen = [found.check for found in plan.checks if _hidden(found)]
    seen = [found for found in plan.checks if not _hidden(found)]
    if not unseen and all(found.state == "missing" for found in seen):
        detail = f"{sink.address}: {seen[0].detail}"
        yield CheckResult(name, "fail", detail, "Check address, network and credentials.")
        return
    setup = f"auditctl setup elasticsearch --sink {sink.name}"
    if unseen:
        hidden = ", ".join(dict.fromkeys(unseen))
        detail = f"{sink.address} answers; {hidden}: visible to the set-up user only, see {setup}"
        yield CheckResult(name, "ok", detail)
    for found in seen:
        detail = f"{found.check}: {found.detail}"
        mend = found.hint or setup
        if found.state == "ok":
            yield CheckResult(name, "ok", detail)
        elif found.check == "privileges" and found.state == "missing":
            yield CheckResult(name, "fail", detail, mend)
        else:
            yield CheckResult(name, "warn", detail, mend)


def _hidden(found: SetupCheck) -> bool:
    """Whether the check could not be made since the user may not look at it."""
    return found.state == "missing" and found.detail.startswith("the server answered 403")


def _plan(sink: ElasticsearchConfig, sources: Sequence[str]) -> SetupPlan:
    # Imported here: the Elasticsearch client takes a third of a second.
    from shippers.sinks.elasticsearch.cluster import Setup  # noqa: PLC0415  (see above)
    from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (see above)

    connection = Connection(sink, elasticsearch_credentials(sink))
    try:
        return Setup(connection, connection, sources).plan()
    finally:
        connection.close()
