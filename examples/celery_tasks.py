"""Celery tasks that are audited, with the sender's context in the worker.

python celery_tasks.py audit

Here sender and worker are one process with a broker in memory; in production the worker is
`celery --app celery_tasks worker`, and the broker a real one.
"""

import functools
import sys

from celery import Celery
from celery.contrib.testing.worker import start_worker

import auditlog
from auditlog.bridges.celery import connect

app = Celery("celery_tasks", broker="memory://", backend="cache+memory://")


@functools.cache
def log():
    return auditlog.open(sys.argv[1], service="shop", host="hive1", instance="auto", flush="hybrid")


@app.task
def ship(order):
    log().emit("order.shipped", details={"order": order})
    return "shipped"


@app.task
def fail(order):
    raise ValueError(order)


if __name__ == "__main__":
    connect(log)
    with (
        start_worker(app, pool="solo", perform_ping_check=False),
        auditlog.bind(correlation_id="req-1", actor="alice"),
    ):
        print(ship.delay("o-1").get(timeout=60))
        fail.delay("o-2").get(timeout=60, propagate=False)
    log().close()
    for record in auditlog.read(sys.argv[1]):
        print(record.event_type, record.outcome, record.actor.user_id, record.correlation_id)
