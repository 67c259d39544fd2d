from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import django
import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

import auditlog
from auditlog.errors import LogFailed

Written = Callable[[], list[dict[str, Any]]]

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="of a test",
        MIDDLEWARE=[
            "auditlog.bridges.django.AuditMiddleware",
            f"{__name__}.log_in",
        ],
        AUDITLOG={"log": lambda: Current.log},
    )
    django.setup()


class Current:
    """The log of the test that is running."""

    log: ClassVar[auditlog.Log]


class log_in:  # noqa: N801  (it stands for Django's AuthenticationMiddleware)
    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if asyncio.iscoroutinefunction(get_response):
            self._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # as Django's own do it

    def __call__(self, request: HttpRequest) -> Any:
        if (name := request.headers.get("x-user")) is not None:
            request.user = SimpleNamespace(pk=7, is_authenticated=True, get_username=lambda: name)
        return self.get_response(request)


def view(request: HttpRequest, number: int) -> HttpResponse:
    Current.log.emit("in.view", details={"number": number})
    return HttpResponse("ok", status=int(request.GET.get("status", 200)))


async def async_view(request: HttpRequest) -> HttpResponse:
    await Current.log.aemit("in.view")
    return HttpResponse("ok")


def streaming(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]))


def broken(request: HttpRequest) -> HttpResponse:
    raise KeyError("a secret in its text")


urlpatterns = [
    path("orders/<int:number>", view),
    path("async", async_view),
    path("stream", streaming),
    path("broken", broken),
]


@pytest.fixture(autouse=True)
def current(log: auditlog.Log) -> None:
    Current.log = log


def test_answered(written: Written) -> None:
    answer = Client().get("/orders/7?q=hidden", headers={"x-request-id": "req-1"})
    assert answer.headers["x-request-id"] == "req-1"
    inside, record = written()
    assert inside["event_type"] == "in.view"
    assert record["event_type"] == "http.request"
    details = record["details"]
    assert (details["method"], details["path"], details["status"]) == ("GET", "/orders/7", 200)
    assert (details["route"], details["client_ip"]) == ("orders/<int:number>", "127.0.0.1")
    assert "hidden" not in str(record)


def test_bound(written: Written) -> None:
    Client().get("/orders/7", headers={"x-request-id": "req-1", "x-user": "alice"})
    for record in written():
        assert record["correlation_id"] == "req-1"
        assert record["actor"] == {
            "user_id": "7",
            "ip": "127.0.0.1",
            "auth_method": "session",
            "name": "alice",
        }
    Current.log.emit("outside")
    assert "correlation_id" not in written()[-1]


def test_bound_in_a_coroutine(written: Written) -> None:
    async def ask() -> None:
        await AsyncClient().get("/async", headers={"x-request-id": "req-2"})

    asyncio.run(ask())
    assert [record["correlation_id"] for record in written()] == ["req-2"] * 2


def test_a_streaming_response_is_recorded_before_it_starts(written: Written) -> None:
    answer = Client().get("/stream")
    assert written()[0]["details"]["streamed"] is True
    assert answer.getvalue() == b"ab"


def test_an_exception_of_a_view_is_a_failure(written: Written) -> None:
    assert Client(raise_request_exception=False).get("/broken").status_code == 500
    (record,) = written()
    assert (record["outcome"], record["severity"]) == ("failure", "error")
    assert "secret" not in str(record)


@pytest.mark.parametrize("fail_closed", [True, False])
def test_fail_closed(log: auditlog.Log, fail_closed: bool) -> None:
    log._commits.fail(LogFailed("the disk is gone"))
    with override_settings(AUDITLOG={"log": lambda: log, "fail_closed": fail_closed}):
        answer = Client().get("/stream")
    assert answer.status_code == (503 if fail_closed else 200)
    log.reopen()


def test_skipped_requests_are_not_recorded(log: auditlog.Log, written: Written) -> None:
    options = {"log": lambda: log, "skip": lambda request: request.path == "/stream"}
    with override_settings(AUDITLOG=options):
        Client().get("/stream")
    assert written() == []


@pytest.mark.parametrize("options", [{}, {"log": "x", "service": "shop"}])
def test_strange_settings_are_named(options: dict[str, Any]) -> None:
    with (
        override_settings(AUDITLOG=options),
        pytest.raises(ValueError, match=r"settings.AUDITLOG needs log and knows actor"),
    ):
        Client().get("/stream")
