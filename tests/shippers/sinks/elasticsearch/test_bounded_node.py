"""Answers of a server that sends more than it should."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from shippers.sinks.elasticsearch import bounded_node
from shippers.sinks.elasticsearch.connection import FAILURES, Connection, trouble
from shippers.sinks.elasticsearch.options import ElasticsearchOptions

PRODUCT = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}


def ask(httpserver: HTTPServer, body: bytes, **headers: str) -> object:
    response = Response(body, headers={**PRODUCT, **headers})
    httpserver.expect_request("/answer").respond_with_response(response)
    connection = Connection(ElasticsearchOptions(urls=(httpserver.url_for("/"),)))
    try:
        return connection.request("GET", "/answer")
    except FAILURES as error:
        return trouble(error).reason
    finally:
        connection.close()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
@pytest.mark.parametrize("noise", [False, True])
def test_same(httpserver: HTTPServer, size: int, noise: bool) -> None:
    """Plain and compressed, of every length around the pieces that are read."""
    letters = random.Random(size).choices("abcdefgh", k=size) if noise else ["a"] * size
    text = "".join(letters)
    body = f'{{"text":"{text}"}}'.encode()
    assert ask(httpserver, body) == {"text": text}
    packed = gzip.compress(body)
    assert ask(httpserver, packed, **{"Content-Encoding": "gzip"}) == {"text": text}


def test_bounded(httpserver: HTTPServer) -> None:
    """Where 130 MiB of zeros are 130 KB on the wire."""
    once = zlib.compressobj(9, wbits=31)
    bomb = b"".join(once.compress(bytes(1 << 20)) for _ in range(130)) + once.flush()
    said = ask(httpserver, bomb, **{"Content-Encoding": "gzip"})
    assert said == "the server's answer is longer than 128 MiB"
    assert bounded_node.MAX_ANSWER_BYTES == 128 << 20


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (gzip.compress(b"{}"), "gzip, gzip", "is compressed in a way that was not asked for"),
        (b"{}", "br", "is compressed in a way that was not asked for"),
        (b"{}", "gzip", "cannot be decompressed"),
        (gzip.compress(b'{"a":1}' * 99)[:-9], "gzip", "cannot be decompressed"),
    ],
    ids=["packed twice", "another way", "not packed", "cut short"],
)
def test_bounded_is_also_what_is_compressed_in_another_way(
    httpserver: HTTPServer, body: bytes, encoding: str, says: str
) -> None:
    assert says in str(ask(httpserver, body, **{"Content-Encoding": encoding}))


def test_bounded_is_the_number_of_values(httpserver: HTTPServer) -> None:
    said = ask(httpserver, b"[" + b"[]," * 2_000_000 + b"[]]")
    assert said == "the server's answer is not valid JSON"
