"""Audit events from a service that only knows the standard library's logging.

python logging_handler.py audit
"""

import logging
import sys

import auditlog
from auditlog.bridges.logging import AuditHandler

with auditlog.open(sys.argv[1], service="queen-rbee", host="hive1", flush="hybrid") as log:
    audit = logging.getLogger("queen.audit")
    audit.addHandler(AuditHandler(log, event_type="queen.logged"))
    audit.setLevel(logging.INFO)

    with auditlog.bind(correlation_id="req-1"):
        audit.info("pool %s drained", "a", extra={"event_type": "pool.drained", "pool": "a"})
        try:
            raise TimeoutError("hive1 did not answer")
        except TimeoutError:
            audit.exception("drain failed", extra={"api_key": "sk-0123456789abcdef"})

for record in auditlog.read(sys.argv[1]):
    print(record.event_type, record.fields["severity"], record.fields["details"])
