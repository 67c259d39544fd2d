"""Structlog with two destinations: the console as before, and the audit log.

python structlog_processor.py audit
"""

import sys

import structlog

import auditlog
from auditlog.bridges.structlog import AuditProcessor

with auditlog.open(sys.argv[1], service="queen-rbee", host="hive1", flush="hybrid") as log:
    console = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[AuditProcessor(log), structlog.processors.KeyValueRenderer(sort_keys=True)],
    )
    console.warning("pool drained", event_type="pool.drained", pool="a", token="t-0123456789")

    # Only the audit log: nothing is printed.
    audit = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[AuditProcessor(log, final=True)]
    )
    audit.info("quota changed", event_type="quota.changed", actor={"user_id": "alice"}, gpus=4)

for record in auditlog.read(sys.argv[1]):
    print(record.event_type, record.fields["severity"], record.fields["details"])
