from __future__ import annotations

import http.client
import ssl

import pytest

from shippers.other_server import describe, spoken


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "status 502"),
        ({"content-type": "text/html"}, "status 502, text/html"),
        ({"server": "nginx/1.2"}, "status 502, from nginx/1.2"),
        (
            {"server": "nginx", "content-type": "text/html"},
            "status 502, text/html, from nginx",
        ),
        ({"server": "\x1b[31m<b>" + "x" * 60}, "status 502, from ??31m?b?" + "x" * 32),
    ],
)
def test_described(headers: dict[str, str], words: str) -> None:
    """described: status, type and server of an answer are named, without what could deceive"""
    assert describe("S3", 502, headers) == f"this is not S3: it answered with {words}"


def no_tls() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (http.client.BadStatusLine("SSH-2.0-OpenSSH_9.2"), "the server does not speak HTTP there"),
        (http.client.LineTooLong("header line"), "the server does not speak HTTP there"),
        (
            http.client.BadStatusLine("\x15\x03\x01\x00\x02\x02"),
            "the server speaks TLS there, and the URL does not begin with https",
        ),
        (no_tls(), "the server does not speak TLS there, as the URL says with https"),
        (http.client.RemoteDisconnected("closed without response"), ""),
        (http.client.IncompleteRead(b"half"), ""),
        (ssl.SSLError(1, "another reason"), ""),
        (TimeoutError(), ""),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_spoken(error: Exception, words: str) -> None:
    """spoken: what is not HTTP, or TLS on one side alone, is told from what broke off"""
    assert spoken(error) == words
    assert spoken(ConnectionError("aborted", error)) == words
