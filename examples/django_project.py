"""A Django project whose requests are audited, in one file.

python django_project.py audit

In a project of your own only the settings MIDDLEWARE and AUDITLOG and the function open_log matter.
"""

import os
import sys

import django
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import path

import auditlog


def open_log():
    return auditlog.open(
        os.environ.get("AUDIT_DIR", sys.argv[1] if len(sys.argv) > 1 else "audit"),
        service="shop",
        host="hive1",
        instance="auto",
        flush="hybrid",
    )


def order(request, number):
    with auditlog.bind(order=number):
        auditlog.bind_context(tenant="acme")
    return HttpResponse(f"order {number}\n")


urlpatterns = [path("orders/<int:number>", order)]

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of an example",
    MIDDLEWARE=["auditlog.bridges.django.AuditMiddleware"],
    AUDITLOG={"log": open_log, "actor": lambda request: request.headers.get("x-user")},
)
django.setup()

if __name__ == "__main__":
    answer = Client().get("/orders/7", headers={"x-user": "alice", "x-request-id": "req-1"})
    auditlog.close_all()
    for record in auditlog.read(sys.argv[1], types="http.request"):
        print(answer.status_code, record.actor.user_id, record.details["route"])
