from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import auditlog
from shippers.sinks.sqlite.sink import SqliteSink
from tests.auditctl.search.test_sinks import shipments
from tests.support.logs import START, LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.auditctl.conftest import Result

BUFFERED = {"PYTHONUNBUFFERED": ""}  # else Python itself writes each line at once


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    """Thirty records over three days, one of them by mallory, two of the three days compressed."""
    built = write_log(tmp_path, records=10, segments=3, days=1)
    built.compress(0)
    built.compress(1, ".gz")
    return built


def test_short_is_one_line_a_record_in_the_order_of_time(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    write_log(built.directory, "rbee-hive@gpu1", records=1, at=START + dt.timedelta(days=1))
    result = run("search", "details.task_id~^task-1", built.directory)
    assert (result.code, result.err) == (0, "")
    numbers = [line.split()[2] for line in result.out.splitlines()]
    assert numbers == [
        "queen-rbee@hive1#1",
        "queen-rbee@hive1#10",
        "queen-rbee@hive1#11",
        "rbee-hive@gpu1#1",
        *(f"queen-rbee@hive1#{number}" for number in range(12, 20)),
    ]


def test_json_is_the_lines_of_the_file(run: Callable[..., Result], built: LogBuilder) -> None:
    for flag in (["-o", "json"], ["--json"]):
        assert run("search", "seq>=28", built.directory, *flag).out.encode() == b"".join(
            built.lines[27:]
        )


def test_verbose_shows_every_value(run: Callable[..., Result], built: LogBuilder) -> None:
    out = run("search", "seq=3", built.directory, "-o", "verbose").out
    words = [line.split() for line in out.splitlines()]
    assert ["details.task_id", "task-3"] in words
    assert ["hash", built.headers[2].hash] in words


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--limit", "2"], [1, 2]),
        (["--reverse", "-n", "3"], [30, 29, 28]),
        (["--since", "2026-11-25"], [*range(21, 31)]),
        (["--until", "2026-11-23"], [*range(1, 11)]),
        (["--since", "2026-11-24T07:12:04Z", "--until", "2026-11-24 07:12:06"], [15, 16]),
        (["--log", "rbee-*"], []),
        (["--correlation-id", "req-1"], []),
        (["--until", "9w ago"], []),
    ],
)
def test_what_is_left_out(
    run: Callable[..., Result], built: LogBuilder, options: list[str], numbers: list[int]
) -> None:
    result = run("search", "actor=alice", built.directory, "--json", *options)
    assert result.code == 0
    found = [line.split(',"seq":')[1].split(",")[0] for line in result.out.splitlines()]
    assert found == [str(number) for number in numbers]


def test_correlation_is_one_requests_records(run: Callable[..., Result], tmp_path: Path) -> None:
    built = LogBuilder(tmp_path)
    for name in ("req-1", "req-2", "req-1"):
        built.append(1, correlation_id=name)
    for option in ("--correlation", "--correlation-id"):
        assert run("search", "", tmp_path, option, "req-1", "--count").out == "2\n"


def test_counts(run: Callable[..., Result], built: LogBuilder) -> None:
    assert run("search", "seq>7", built.directory, "--count").out == "23\n"
    counted = run("search", "seq>7", built.directory, "-c", "--json")
    assert counted.json == {"schema": "auditctl.search/1", "count": 23}


def test_by_a_field_is_a_table_with_bars(
    run: Callable[..., Result], built: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    built.append(4, actor={"user_id": "mallory\x1b[2J"}, event_type="auth_failure")
    out = run("search", "", built.directory, "--by", "actor").out
    lines = out.splitlines()
    assert lines[0].split() == ["ACTOR.USER_ID", "RECORDS"]
    assert lines[1].split()[:2] == ["alice", "30"]
    name, number, *_ = lines[2].split()
    assert (name[:11], number) == (r"mallory\u00", "4")  # cut, since the table is narrow
    assert lines[3] == "34 records in all"
    assert max(map(len, lines)) == 60
    assert len(lines[1].split()[2]) > 5 * len(lines[2].split()[2])
    found = run("search", "", built.directory, "--by", "day", "--json").json
    assert found["groups"] == [
        {"key": "2026-11-23", "count": 10},
        {"key": "2026-11-24", "count": 10},
        {"key": "2026-11-25", "count": 14},
    ]
    assert found["count"] == 34


def test_by_many_values_shows_the_most_frequent_and_says_how_many_more(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    lines = run("search", "", built.directory, "--by", "seq").out.splitlines()
    assert len(lines) == 1 + 20 + 2
    assert lines[-2:] == ["and 10 more, with 10 records", "30 records in all"]
    assert len(run("search", "", built.directory, "--by", "seq", "-n", "3").out.splitlines()) == 6


def test_a_sink_is_searched_like_the_files(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    file = tmp_path / "copy.sqlite"
    sink = SqliteSink("main", file)
    sink.deliver(shipments(built.lines))
    sink.close()
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{built.directory}']\n[sinks.main]\nkind = 'sqlite'\npath = '{file}'\n"
    )
    expected = run("search", "seq<9", built.directory, "-r").out
    for where in ([file], ["sink", "--config", config], ["main", "--config", config]):
        result = run("search", "seq<9", "-r", "--source", *where)
        assert (result.code, result.out) == (0, expected)
    wrong = run("search", "", "--source", "mian", "--config", config)
    assert wrong.code == 65
    assert "configured: main" in wrong.err


def test_verified_shows_what_is_proven_and_says_what_is_not(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    result = run("search", "", built.directory, "--verified", "--count")
    assert (result.code, result.out, result.err) == (0, "30\n", "")
    built.active.write_bytes(built.active.read_bytes().replace(b"task-25", b"task-99"))
    result = run("search", "", built.directory, "--verified", "--count")
    assert (result.code, result.out) == (3, "24\n")
    assert "proven through seq 24; left out are the lines from there on, 6 of them" in result.err


def test_a_line_that_is_no_record_is_said_and_makes_the_code_65(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    built.append_raw(b"secret nonsense\n")
    result = run("search", "", built.directory, "--count")
    assert (result.code, result.out) == (65, "30\n")
    assert f"{built.active.name}: the line is not a record (byte " in result.err
    assert "secret" not in result.err


def test_nothing_found_is_said_to_people(run: Callable[..., Result], built: LogBuilder) -> None:
    result = run("search", "actor=bob", built.directory)
    assert (result.code, result.out) == (0, "")
    assert "no record matches" in result.err
    assert run("search", "actor=bob", built.directory, "--json").err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["actr=alice"], "there is no field 'actr'"),
        (["", "--since", "tomorrow"], "'tomorrow' is not a time"),
        (["", "--since", "today", "--until", "yesterday"], "swap --since and --until"),
        (["", "--count", "--by", "hour"], "give one"),
        (["", "--by", "huor"], "no field"),
        (["", "--follow", "--reverse"], "--follow has no end"),
        (["", "--follow", "--until", "now"], "has no end, --until has"),
        (["", "--source", "x.sqlite", "--verified"], "reads files"),
    ],
)
def test_what_makes_no_sense_is_refused_as_usage(
    run: Callable[..., Result], built: LogBuilder, arguments: list[str], words: str
) -> None:
    query, *options = arguments
    result = run("search", query, built.directory, *options)
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert result.err.count("\n") == 1


def test_a_directory_in_the_place_of_the_query_is_understood_as_a_mistake(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("search", tmp_path)
    assert result.code == 2
    assert f"the query comes first: search '' {tmp_path}" in result.err


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "auditctl", "search", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **BUFFERED}
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_follow_shows_what_there_is_and_what_comes_until_ctrl_c(
    built: LogBuilder, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    process = started("seq~[05]$", built.directory, "--since", "2026-11-25", "-f", "--json")
    assert process.stdout is not None
    shown = [process.stdout.readline() for _ in range(2)]
    built.append(5)
    built.rotate()
    built.append(5)
    built.compress(3)
    shown += [process.stdout.readline() for _ in range(2)]
    assert shown == [built.lines[index] for index in (24, 29, 34, 39)]
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")


def test_the_first_answer_comes_while_the_rest_is_read(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The day's second part is a hole in the file that takes long to read through."""
    built = write_log(tmp_path, records=3)
    second = tmp_path / built.names[0].logical.replace(".0001.", ".0002.")
    with second.open("wb") as file:
        file.truncate(1 << 40)
    process = started("seq<4", tmp_path, "--json")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == built.lines
    assert process.poll() is None


@pytest.mark.parametrize("output", [["--json"], ["-o", "short"], ["-o", "verbose"]])
def test_the_first_answers_are_in_the_pipe_before_what_is_said_after_them(
    program: Callable[..., Result], tmp_path: Path, output: list[str]
) -> None:
    """Both streams end in one pipe: answers that were kept back would come behind the complaint."""
    built = write_log(tmp_path / "audit", records=100, segments=2, days=1)
    built.active.write_bytes(b"no record\n")
    both = ("sh", "-c", 'exec "$@" 2>&1', "sh")
    result = program("search", "", built.directory, *output, before=both, env=BUFFERED)
    assert result.code == 65
    answers, complaint, rest = result.out.rpartition(f"auditctl: {built.active.name}: ")
    assert complaint
    assert rest == "the line is not a record (byte 0).\n"
    shown = {"--json": '"seq":100,', "-o": "queen-rbee@hive1#100"}[output[0]]
    assert shown in answers


def test_a_closed_pipe_ends_it_silently(
    tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]]
) -> None:
    write_log(tmp_path, records=3000)
    process = started("", tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


def test_a_search_ends_with_an_explanation(run: Callable[..., Result], tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="a", host="b") as log:
        log.emit("a.b", details={"x": "a" * 5000 + "!"})
    result = run("search", "details.x~'(a+)+$'", tmp_path)
    assert result.code == 2
    assert "takes more than a second on one value" in result.err


def test_heartbeats_are_counted_when_they_are_asked_for(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    built.append(5, event_type="log.heartbeat")
    sink = SqliteSink("main", tmp_path / "audit.sqlite")
    sink.deliver(shipments(built.lines))
    sink.close()
    for source in ("files", tmp_path / "audit.sqlite"):
        for query, asking, number in (
            ("", [], 30),
            ("", ["--log-events"], 35),
            ("event_type=log.heartbeat", [], 5),
        ):
            counted = run("search", query, built.directory, "--source", source, "--count", *asking)
            assert counted.out == f"{number}\n", (source, query, asking)
