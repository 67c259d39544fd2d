"""OpenTelemetry: events of an active span carry its trace_id and span_id, without any set-up.

python tracing.py audit
"""

import sys

from opentelemetry.sdk.trace import TracerProvider

import auditlog

tracer = TracerProvider().get_tracer("queen-rbee")

with (
    auditlog.open(sys.argv[1], service="queen-rbee", host="hive1") as log,
    tracer.start_as_current_span("drain") as span,
):
    log.emit("pool.drained", details={"pool": "a"})
    print(f"{span.get_span_context().trace_id:032x}")
