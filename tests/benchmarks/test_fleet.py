"""The plan of a fleet is calculated from the results that are stored."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks import fleet, harness
from benchmarks.fleet import INPUTS, PAGE, Fleet, Measured, fleet_table

if TYPE_CHECKING:
    from pathlib import Path


def cells(table: str, row: str) -> list[str]:
    """The cells of a row, behind its formula."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.split("|")[3:-1]]


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    text = PAGE.read_text("utf-8")
    assert text == fleet.rewritten(text), "run make bench-plots"


@pytest.mark.parametrize("name", INPUTS)
def test_every_measured_figure_names_a_case_that_can_be_measured_again(name: str) -> None:
    measured = INPUTS[name]
    assert measured.case in harness.load(measured.benchmark).CASES
    assert not measured.both or measured.benchmark in harness.BY_WORKLOAD


def test_the_prose_of_the_page_agrees_with_its_tables() -> None:
    text = PAGE.read_text("utf-8")
    whole = fleet_table(Fleet())
    buckets, shards, days = (
        cells(whole, row)[1]
        for row in (
            "buckets of 10 shards",
            "shards a day, with a replica",
            "days of them on 32 nodes",
        )
    )
    assert f'-{{bucket:{buckets}}}"     # {buckets} indices a day' in text
    assert number(shards) == 20 * number(buckets)
    assert number(days) == pytest.approx(32_000 / number(shards), rel=0.01)
    assert "100 hosts with 10 events a second make less than one shard" in " ".join(text.split())
    assert cells(fleet_table(Fleet(hosts=100), (10,)), "primary shards a day") == ["1", "1"]


def test_four_times_the_rate_are_four_times_the_records() -> None:
    fifty, _, two_hundred, _ = cells(fleet_table(Fleet()), "records a day")
    assert (fifty, two_hundred) == ("43.2e9", "172.8e9")


def test_a_plan_is_a_product_of_its_assumptions() -> None:
    half = fleet_table(replace(Fleet(), hosts=5_000))
    whole = fleet_table(Fleet())
    for row in ("connections, idle or busy", 'bulks a second, `linger = "5s"`', "uploads a day"):
        for of_half, of_whole in zip(cells(half, row), cells(whole, row), strict=True):
            expected = pytest.approx(number(of_whole), rel=0.01, nan_ok=True)
            assert 2 * number(of_half) == expected


def number(text: str) -> float:
    return math.nan if text == "?" else float(text.replace(",", ""))


def test_what_was_not_measured_has_a_question_mark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fleet, "RESULTS", tmp_path)
    fleet.stored_result.cache_clear()
    try:
        assert set(cells(fleet_table(Fleet()), "index a day, one copy")) == {"?"}
        assert cells(fleet_table(Fleet()), "records a day")[0] == "43.2e9"
    finally:
        fleet.stored_result.cache_clear()


def test_prices_are_asked_for_and_never_assumed() -> None:
    assert "price" not in fleet_table(Fleet())
    priced = fleet_table(replace(Fleet(), price_tb_month=20, price_1000_puts=0.01))
    paid = Measured("even").archive_bytes * 43.2e9 * 365 / 1e12 * 20
    assert number(cells(priced, "price of storage, a month, after a year")[0]) == pytest.approx(
        paid, rel=0.01, nan_ok=True
    )
