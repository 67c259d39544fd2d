"""Whether somebody moved the wall clock."""

from __future__ import annotations

import datetime as dt
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import ClockUnusable
from auditlog.format.record import format_ns
from auditlog.writer.clock import SECOND_NS, WallClock, day_of, to_ns


@pytest.mark.parametrize("step", [-365 * 86_400, -3600, -2, 2, 3600, 365 * 86_400])
def test_noticed(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock runs with the boot clock, and then somebody moves it."""
    boot, moved = itertools.count(1_000 * SECOND_NS, 1_000_000), [0]
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: next(boot))
    clock = WallClock(lambda: next(boot) + moved[0])
    moved[0] += step * SECOND_NS
    assert clock.stepped() == pytest.approx(step * SECOND_NS, abs=SECOND_NS / 10)
    assert clock.stepped() == 0, "a step is reported once"


def test_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspend: both clocks jump together."""
    now = [1_000 * SECOND_NS]
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: now[0])
    clock = WallClock(lambda: now[0] + 1_700_000_000 * SECOND_NS)
    assert clock.stepped() == 0
    now[0] += 8 * 3600 * SECOND_NS
    assert clock.stepped() == 0
    assert clock.read() == clock.last_ns == now[0] + 1_700_000_000 * SECOND_NS


FIRST_NS = to_ns("1000-01-01T00:00:00.000000Z")
LAST_NS = to_ns("9999-12-31T23:59:59.999999Z") + 999


@pytest.mark.parametrize("reading", [FIRST_NS - 1, LAST_NS + 1, 10**30, OverflowError()])
def test_usable(reading: int | OverflowError) -> None:
    """usable: the first reading is refused, later ones leave the last one in place"""

    def read() -> int:
        if isinstance(now[0], OverflowError):
            raise now[0]
        return now[0]

    now = [reading]
    with pytest.raises(ClockUnusable, match="Set the clock"):
        WallClock(read)
    for good in (FIRST_NS, LAST_NS):
        now[0] = good
        clock = WallClock(read)
        now[0] = reading
        assert clock.read() == good
        assert clock.stepped() == 0


@given(st.integers(-9_000_000_000 * SECOND_NS, 250_000_000_000 * SECOND_NS))
def test_a_timestamp_read_back_is_the_same_microsecond(ns: int) -> None:
    assert to_ns(format_ns(ns)) == ns - ns % 1000
    assert format_ns(ns).startswith(day_of(ns).isoformat())
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert day_of(ns) == (epoch + dt.timedelta(microseconds=ns // 1000)).date()
