from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.logs import START, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

SINCE = ("--since", START.isoformat(), "--until", "2026-11-24")


def test_the_page_is_written_for_its_owner_only(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path / "audit", records=5)
    page = tmp_path / "report.html"
    result = run("report", tmp_path / "audit", *SINCE, "-o", page)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"{page}: 5 events\n"
    assert page.stat().st_mode & 0o777 == 0o600
    assert page.read_text().startswith("<!doctype html>")


def test_json_is_the_numbers_of_the_page(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=5, event_type="auth_failure", outcome="failure")
    result = run("report", tmp_path, *SINCE, "--json")
    assert result.code == 0
    assert result.json["schema"] == "auditctl.report/1"
    assert result.json["by_type"] == {"auth_failure": {"failure": 5}}
    assert result.json["refused_logins"] == [{"user": "alice", "ip": "192.0.2.7", "count": 5}]
    assert result.json["verify"][0]["records"] == 5


def test_a_log_that_does_not_verify_is_exit_1_and_a_page(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    built = write_log(tmp_path / "audit", records=5)
    built.active.write_bytes(built.active.read_bytes().replace(b"task-4", b"task-5"))
    page = tmp_path / "report.html"
    assert run("report", tmp_path / "audit", *SINCE, "-o", page).code == 1
    assert "NOT verified" in page.read_text()


def test_a_duration_counts_back_from_now(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=5)  # in a past of which no clock of a test is sure
    assert run("report", tmp_path, "--since", "36500d", "--json").json["events"] in (0, 5)
    assert run("report", tmp_path, "--since", "1s", "--json").json["events"] == 0


def test_without_a_place_to_write_to_nothing_is_read(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("report", tmp_path)
    assert result.code == 2
    assert "-o FILE" in result.err


def test_a_time_that_is_none_is_named(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=1)
    result = run("report", tmp_path, "--since", "soon", "--json")
    assert result.code in (2, 65)
    assert "'soon' is not a time" in result.err
