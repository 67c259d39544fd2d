"""Check the installed wheel, in an environment with nothing else; run by `make wheel-check`.

Only the standard library, orjson, zstandard and the wheel are there: a module that the base
package needs and its metadata does not name fails here and nowhere else.
"""

import importlib.metadata
import importlib.resources
import importlib.util
import sys
import tempfile
from pathlib import Path

import auditlog

HEAVY = ("apscheduler", "click", "elasticsearch", "jinja2", "prometheus_client", "rich", "watchdog")


def check() -> None:
    installed = Path(auditlog.__file__).resolve()
    assert installed.is_relative_to(Path(sys.prefix).resolve()), f"{installed} is not the wheel's"
    present = [name for name in HEAVY if importlib.util.find_spec(name)]
    assert not present, f"the environment is not clean: {present}"
    units = importlib.resources.files("auditctl") / "deploy/systemd/auditlog-agent.service"
    assert units.is_file(), "the wheel has no units for auditctl install"
    with tempfile.TemporaryDirectory() as directory:
        with auditlog.open(directory, service="wheel", host="check") as log:
            written = [log.emit("wheel.checked", details={"n": n}).wait() for n in range(10)]
        found = {(record.seq, record.hash) for record in auditlog.read(directory, log_events=True)}
        assert {(ticket.seq, ticket.hash) for ticket in written} <= found
        report = auditlog.verify(directory)
        assert report.ok, report.to_json()
    version = importlib.metadata.version("llama-orch-auditlog")
    print(f"wheel-check: {version} wrote, read and verified {len(found)} records")


if __name__ == "__main__":
    check()
