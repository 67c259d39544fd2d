"""Ship a directory of audit logs into a SQLite file, from a program of your own.

    python examples/ship_directory.py audit

Running it again ships only what was written meanwhile: the cursors are in ``audit.state``.
For Elasticsearch replace the sink: ``shippers.ElasticsearchSink("main",
shippers.ElasticsearchOptions(urls=("https://es.example:9200",)), credentials)``.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import auditlog
import shippers


def main(directory: Path) -> None:
    with auditlog.open(directory, service="queen-rbee", host="hive1") as log:
        log.emit("pool.drained", details={"pool": "a"})

    target, state = directory.with_suffix(".sqlite"), directory.with_suffix(".state")
    with shippers.SqliteSink("copy", target) as sink:
        summary = shippers.ShippingService([directory], [sink], state).run_once()
    print(f"{summary.shipped} shipped, {summary.quarantined} refused: complete={summary.complete}")

    for at, event_type in sqlite3.connect(target).execute("SELECT at, event_type FROM records"):
        print(at, event_type)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
