"""Checkpoints have one spelling, and each log an origin of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.evidence.checkpoint import Checkpoint, log_of_origin, origin_of
from auditlog.evidence.errors import BadEvidence
from auditlog.format.segment_names import LogId

PARTS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True)
ROOT = bytes(range(32))


@given(st.integers(0, 1 << 60), st.binary(min_size=32, max_size=32))
def test_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("audit.example.com/a@b", size, root)
    assert Checkpoint.parse(checkpoint.to_bytes()) == checkpoint


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"extension\n",
        lambda text: text[:-1],
        lambda text: text.replace(b"\n42\n", b"\n042\n"),
        lambda text: text.replace(b"\n42\n", b"\n-1\n"),
        lambda text: text.replace(b"\n42\n", b"\n+42\n"),
        lambda text: text.replace(b"=\n", b"\n"),
        lambda text: text.replace(b"a@b", b""),
        lambda text: text.replace(b"\n", b"\r\n"),
    ],
)
def test_round_trip_refuses_a_second_spelling(change: object) -> None:
    text = Checkpoint("a@b", 42, ROOT).to_bytes()
    with pytest.raises(BadEvidence):
        Checkpoint.parse(change(text))  # type: ignore[operator]  # each parameter is a function


@given(PARTS, PARTS, st.none() | PARTS, st.integers(1, 1000))
def test_own_origin(service: str, host: str, instance: str | None, epoch: int) -> None:
    log = str(LogId(service, host, instance or ""))
    assert log_of_origin(origin_of("audit.example.com/eu", log, epoch)) == (log, epoch)


def test_own_origin_names_an_epoch_behind_the_first() -> None:
    assert origin_of("p", "a@b+c") == origin_of("p", "a@b+c", 1) == "p/a@b/c"
    assert origin_of("p", "a@b+c", 2) == "p/a@b/c~e2"
    assert log_of_origin("p/a@b/c") == ("a@b+c", 1)


@pytest.mark.parametrize(("size", "root"), [(-1, ROOT), (0, ROOT[1:]), (7, ROOT + b"x")])
def test_an_impossible_tree_head_is_refused(size: int, root: bytes) -> None:
    with pytest.raises(BadEvidence, match="impossible"):
        Checkpoint("a@b", size, root)


def test_own_origin_of_an_instance_that_is_called_like_an_epoch() -> None:
    assert origin_of("p", "a@b+e2") != origin_of("p", "a@b", 2)


@pytest.mark.parametrize("origin", ["example.com/log", "p/a@b~e1", "p/a@b~x", "p/@b", "p/a@b/c/d"])
def test_an_origin_of_somebody_else_is_of_no_log(origin: str) -> None:
    assert log_of_origin(origin) == ("", 1)
