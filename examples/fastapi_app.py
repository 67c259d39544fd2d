"""A FastAPI application that is audited, with context bound in dependencies.

python fastapi_app.py audit        # or: AUDIT_DIR=audit uvicorn fastapi_app:app

A dependency binds for the whole request, whether it is a function, a coroutine or a generator.
"""

import asyncio
import functools
import os
import sys

import httpx
from fastapi import Depends, FastAPI, Header

import auditlog
from auditlog.bridges.asgi import AuditMiddleware


@functools.cache
def log():
    directory = os.environ.get("AUDIT_DIR", sys.argv[1] if len(sys.argv) > 1 else "audit")
    return auditlog.open(directory, service="shop", host="hive1", instance="auto", flush="hybrid")


async def tenant(x_tenant: str = Header("acme")):
    auditlog.bind_context(tenant=x_tenant)


async def user(x_user: str = Header("nobody")):
    with auditlog.bind(actor=x_user):
        yield x_user


service = FastAPI(dependencies=[Depends(tenant)])


@service.get("/orders/{number}")
async def order(number: int, name: str = Depends(user)):
    await log().aemit("order.read", details={"number": number})
    return {"order": number, "user": name}


@service.get("/reports/{number}")
def report(number: int, name: str = Depends(user)):
    log().emit("report.read", details={"number": number})  # in a thread of FastAPI's pool
    return {"report": number, "user": name}


app = AuditMiddleware(service, log)


async def ask():
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for address in ("/orders/7", "/reports/8"):
            await client.get(address, headers={"x-user": "alice", "x-tenant": "acme"})


if __name__ == "__main__":
    asyncio.run(ask())
    log().close()
    for record in auditlog.read(sys.argv[1]):
        actor = record.actor.user_id if record.actor else None
        print(record.event_type, actor, record.details.get("tenant"))
