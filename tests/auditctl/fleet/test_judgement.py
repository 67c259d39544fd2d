from __future__ import annotations

import datetime as dt

from auditctl.fleet.judgement import FleetReport, LogSummary, judge
from auditctl.fleet.ranges import Irregularities
from tests.support.logs import START

NOW = START + dt.timedelta(hours=1)
SILENT = dt.timedelta(minutes=10)


def summary(log: str, records: int = 10, *, age: float = 1, **fields: int) -> LogSummary:
    """A whole log of ``records``, the newest ``age`` minutes old."""
    whole = {"first_seq": 1, "last_seq": records, "seq_sum": records * (records + 1) // 2}
    return LogSummary(log, records, last_at=NOW - dt.timedelta(minutes=age), **{**whole, **fields})


def irregular(log: LogSummary) -> Irregularities:
    """Stands for the search in a sink: what it would find for these names."""
    if log.log.startswith("forked"):
        return Irregularities(forks=(3, 4))
    return Irregularities(gaps=((4, 5),))


def named(report: FleetReport) -> dict[str, str]:
    return {line.name: "; ".join(line.problems) for line in report.lines if line.problems}


def test_named() -> None:
    """10,000 hosts: ten fell silent, three lost records, two share a name."""
    fleet = [summary(f"rbee-hive@gpu-{number}") for number in range(9_985)]
    silent = [summary(f"rbee-hive@silent-{number}", age=11) for number in range(10)]
    gapped = [summary(f"rbee-hive@gap-{number}", 8, last_seq=10) for number in range(3)]
    forked = [summary("forked@twin", 12, last_seq=10)]
    report = judge(fleet + silent + gapped + forked, irregular, now=NOW, silent_after=SILENT)
    found = named(report)
    assert {name for name, text in found.items() if text.startswith("silent since")} == {
        one.log for one in silent
    }
    assert {name for name, text in found.items() if "are missing" in text} == {
        one.log for one in gapped
    }
    assert [name for name, text in found.items() if "may share this name" in text] == [
        "forked@twin"
    ]
    assert len(found) == 14
    assert not report.ok
    assert judge(fleet, irregular, now=NOW, silent_after=SILENT).ok


def test_an_inventory_names_what_is_unknown_and_what_is_missing() -> None:
    fleet = [summary("queen-rbee@a"), summary("rbee-hive@a"), summary("rbee-hive@stranger")]
    expected = frozenset({"a", "b", "queen-rbee@c"})
    found = named(judge(fleet, irregular, now=NOW, inventory=expected))
    assert found == {
        "b": "missing: no record of it",
        "queen-rbee@c": "missing: no record of it",
        "rbee-hive@stranger": "unknown: it is not in the inventory",
    }
    assert judge(fleet[:2], irregular, now=NOW, inventory=frozenset({"a"})).ok


def test_by_host() -> None:
    fleet = [
        summary("queen-rbee@a", age=1),
        summary("rbee-hive@a", age=60),
        summary("rbee-hive@b", age=60),
        summary("rbee-hive@c", 8, last_seq=10),
    ]
    report = judge(fleet, irregular, now=NOW, silent_after=SILENT, by_host=True)
    assert [line.name for line in report.lines] == ["a", "b", "c"]
    found = named(report)
    assert set(found) == {"b", "c"}
    assert found["b"].startswith("silent since ")
    assert found["c"].startswith("rbee-hive@c: 2 records are missing")
    assert named(
        judge([summary("x@b")], irregular, now=NOW, by_host=True, inventory=frozenset({"y@d", "b"}))
    ) == {"d": "missing: no record of it"}


def test_the_report_as_json() -> None:
    report = judge([summary("x@gap", 8, last_seq=10)], irregular, now=NOW)
    (line,) = report.to_json()["lines"]
    assert line["gaps"] == [[4, 5]]
    assert line["last_record_at"] == "2026-11-23T08:11:00.000000Z"
    assert report.to_json()["schema"] == "auditctl.fleet/1"
    assert report.to_json()["ok"] is False


def test_a_log_is_silent_only_when_its_newest_record_is_older_than_allowed() -> None:
    fleet = [summary("x@a", age=10), summary("x@b", age=10.1)]
    found = named(judge(fleet, irregular, now=NOW, silent_after=SILENT))
    assert list(found) == ["x@b"]


def test_of_several_gaps_the_first_is_named_and_all_are_counted() -> None:
    def look_closely(log: LogSummary) -> Irregularities:
        del log
        return Irregularities(gaps=((2, 4), (7, 7), (9, 9)))

    found = named(judge([summary("x@gap", 5, last_seq=10)], look_closely, now=NOW))
    assert found == {"x@gap": "5 records are missing, the first from seq 2 to 4"}


def test_a_name_that_is_not_a_log_s_is_its_own_host() -> None:
    """A sink may hold records under any name."""
    report = judge([summary("stray")], irregular, now=NOW, by_host=True)
    assert [line.name for line in report.lines] == ["stray"]
    assert judge([summary("stray")], irregular, now=NOW, inventory=frozenset({"stray"})).ok


def test_a_missing_log_has_no_record() -> None:
    report = judge([], irregular, now=NOW, inventory=frozenset({"x@a"}))
    (line,) = report.to_json()["lines"]
    assert line == {
        "name": "x@a",
        "records": 0,
        "first_seq": None,
        "last_seq": None,
        "last_record_at": None,
        "gaps": [],
        "forks": [],
        "problems": ["missing: no record of it"],
    }
