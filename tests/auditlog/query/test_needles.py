from __future__ import annotations

import doctest
from typing import Any

import pytest
from hypothesis import given

from auditlog.query import needles as module
from auditlog.query.needles import ESCAPES, needles
from auditlog.query.syntax import Query, parse
from tests.support.logs import make_line
from tests.support.questions import bodies, naive, queries


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(module).failed == 0


@given(query=queries, body=bodies)
def test_necessary(query: Query, body: dict[str, Any]) -> None:
    line, _ = make_line("queen-rbee@hive1", 7, **body)
    if naive(query, line) and (found := needles(query)):
        assert any(needle in line for needle in (*found, *ESCAPES))


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("", ()),
        ("actor=alice", (b'"alice"',)),
        ("actor=alice outcome=success", (b'"success"',)),
        ("actor!=alice", ()),
        ("not actor=alice", ()),
        ("actor=alice or actor=bobby", (b'"alice"', b'"bobby"')),
        ("actor=alice or seq>3", ()),
        ("event_type=auth_failure", (b'"event_type":"auth_failure"',)),
        ("event_type~^auth_", (b"auth_",)),
        ("event_type~^auth_.*", ()),
        ("seq=17", (b'"seq":17,',)),
        ("seq=1e3", ()),
        ("details.port=8080", (b'port"',)),
        ("details.port>80", (b'port"',)),
        ("details.n=1", ()),
        ("details.tries!=3", ()),
        ("details.tries!~x", ()),
        ("details.gpu.id='42'", (b'"42"',)),
        ("grün", ("grün".encode(),)),
        ("'say \"x\"'", (b'say \\"x\\"',)),
        ("xyz", ()),
        ("wxyz", (b"wxyz",)),
        ("(details.a='12345' or details.b='67890') details.c='abcde'", (b'"abcde"',)),
        (
            " or ".join(f"actor=user-{n:02}" for n in range(16)),
            tuple(b'"user-%02d"' % n for n in range(16)),
        ),
        (" or ".join(f"actor=user-{n:02}" for n in range(17)), ()),
        ("details.n=true", ()),
        ("details.state=false", (b'state"',)),
        ("outcome=null", ()),
        (" or ".join(f"actor=user-{n}" for n in range(20)), ()),
    ],
)
def test_what_is_looked_for(question: str, found: tuple[bytes, ...]) -> None:
    assert needles(parse(question)) == found
