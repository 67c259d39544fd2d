from __future__ import annotations

import asyncio
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from auditlog.errors import InvalidEvent
from auditlog.events.actor import Actor, Resource
from auditlog.events.context import bind, current, trace_ids


def test_nothing_is_bound_at_first() -> None:
    assert current() is None
    assert trace_ids() is None


def test_nests() -> None:
    with bind(actor={"user_id": "alice"}, details={"a": 1, "b": 1}, correlation_id="req-1"):
        with bind(
            actor=Actor("bob"),
            resource={"resource_type": "pool", "resource_id": "p"},
            reason="why",
            details={"b": 2},
        ):
            inner = current()
        outer = current()
    assert inner is not None
    assert outer is not None
    assert inner.actor == Actor("bob")
    assert inner.resource == Resource("pool", "p")
    assert (inner.reason, inner.correlation_id) == ("why", "req-1")
    assert inner.details == {"a": 1, "b": 2}
    assert (outer.actor, outer.resource) == (Actor("alice"), None)
    assert outer.details == {"a": 1, "b": 1}
    assert current() is None


def test_it_is_gone_after_an_exception() -> None:
    with pytest.raises(KeyError), bind(correlation_id="req-1"):
        raise KeyError
    assert current() is None


def test_follows() -> None:
    async def handle(name: str, started: asyncio.Barrier) -> tuple[str | None, str | None]:
        with bind(correlation_id=name):
            await started.wait()
            return await asyncio.create_task(read())

    async def read() -> tuple[str | None, str | None]:
        bound = current()
        assert bound is not None
        return bound.reason, bound.correlation_id

    async def main() -> list[tuple[str | None, str | None]]:
        started = asyncio.Barrier(2)
        with bind(reason="all"):
            return await asyncio.gather(handle("a", started), handle("b", started))

    assert asyncio.run(main()) == [("all", "a"), ("all", "b")]


def test_another_thread_sees_nothing() -> None:
    seen: list[object] = []
    with bind(reason="mine"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_details_are_cleaned_when_they_are_bound() -> None:
    with bind(details={"password": "hunter2"}):
        assert current() is not None
        assert "hunter2" not in str(current())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"actor": {"user": "x"}}, "actor has no field 'user'"),
        ({"resource": "p"}, "resource is str"),
        ({"reason": [1]}, "reason is list"),
        ({"correlation_id": b"x"}, "correlation_id is bytes"),
        ({"details": [1]}, "details is list"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_bound(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidEvent, match=words), bind(**fields):  # type: ignore[arg-type]  # wrong on purpose
        pytest.fail("it was bound")


class _Tracing(ModuleType):
    """As much of opentelemetry.trace as is looked at."""

    span = SimpleNamespace(is_valid=False, trace_id=0, span_id=0)

    def get_current_span(self) -> SimpleNamespace:
        return SimpleNamespace(get_span_context=lambda: self.span)


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> _Tracing:
    module = _Tracing("opentelemetry.trace")
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return module


def test_an_active_span_adds_its_ids(tracing: _Tracing) -> None:
    assert current() is None
    tracing.span = SimpleNamespace(is_valid=True, trace_id=0xABC, span_id=0xDEF)
    ids = {"trace_id": "0" * 29 + "abc", "span_id": "0" * 13 + "def"}
    bound = current()
    assert bound is not None
    assert bound.details == ids
    with bind(reason="why", details={"a": 1, "span_id": "mine"}):
        bound = current()
    assert bound is not None
    assert (bound.reason, bound.details) == ("why", {"a": 1, **ids})
