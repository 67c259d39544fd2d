"""The writer's own health on /metrics, by prometheus-client.

python prometheus_metrics.py audit
"""

import sys

from prometheus_client import CollectorRegistry, generate_latest

import auditlog
from auditlog.bridges.prometheus import LogCollector

registry = CollectorRegistry()  # in a service: prometheus_client.REGISTRY

with auditlog.open(sys.argv[1], service="queen-rbee", host="hive1") as log:
    registry.register(LogCollector(log))
    log.emit("pool.drained", details={"pool": "a"})
    print(generate_latest(registry).decode(), end="")
