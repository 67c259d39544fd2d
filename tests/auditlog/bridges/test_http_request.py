"""The details of an event about an HTTP request."""

from __future__ import annotations

import subprocess
from hashlib import sha256

import pytest

from auditlog.bridges.http_request import chosen_id, exception_type, judged, path_details

LONGEST_ID = "a" * 128


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["req-1"], "req-1"),
        ([None, "req-1", "req-2"], "req-1"),
        (["two words", "", "-x", "é", "req:1._-"], "req:1._-"),
        ([LONGEST_ID + "a", LONGEST_ID], LONGEST_ID),
        (["req-1\n", "0"], "0"),
    ],
)
def test_the_first_id_that_is_plain_is_taken(given: list[str | None], expected: str) -> None:
    assert chosen_id(given) == expected


def test_without_a_plain_id_each_request_gets_a_new_one() -> None:
    first, second = chosen_id([]), chosen_id([None, "not plain"])
    assert first != second
    assert chosen_id([first]) == first


@pytest.mark.parametrize("path", ["", "/tasks/7", "/" + "a" * 1023])
def test_a_path_is_recorded_whole_up_to_a_length(path: str) -> None:
    assert path_details(path) == {"path": path}


def test_a_path_that_is_not_text_is_recorded_escaped() -> None:
    assert path_details("/\udcff") == {"path": "/\\udcff"}


@pytest.mark.parametrize("length", [1025, 16 * 1024, 40_000])
def test_a_long_path_is_cut_and_recorded_with_its_length_and_hash(length: int) -> None:
    path = "/" + "a" * (length - 1)
    digest = sha256(path.encode()).hexdigest()
    assert path_details(path) == {
        "path": path[:1024],
        "path_length": length,
        "path_hash": f"sha256:{digest}",
    }


def test_a_secret_where_a_path_is_cut_is_not_recorded_by_half() -> None:
    secret = "ghp_" + "0aB1cD2eF3" * 4
    for before in range(970, 1024):
        cut = path_details("/" + "a/" * (before // 2) + secret + "/" + "b/" * 999)["path"]
        assert len(cut) <= 1024
        assert secret[:12] not in cut


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ("failure", "error")),
        (599, ("failure", "error")),
        (500, ("failure", "error")),
        (499, ("failure", "info")),
        (429, ("failure", "warning")),
        (404, ("failure", "info")),
        (403, ("failure", "warning")),
        (402, ("failure", "info")),
        (401, ("failure", "warning")),
        (400, ("failure", "info")),
        (399, ("success", "info")),
        (200, ("success", "info")),
    ],
)
def test_outcome_and_severity_come_from_the_status(
    status: int | None, expected: tuple[str, str]
) -> None:
    assert judged(status) == expected


def test_an_exception_is_named_by_its_type_alone() -> None:
    assert exception_type(ValueError("secret")) == {"type": "builtins.ValueError"}
    error = subprocess.TimeoutExpired("secret", 1)
    assert exception_type(error) == {"type": "subprocess.TimeoutExpired"}
