"""Connections over TLS to a real, secured Elasticsearch, and what they show of their secrets."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import logging
import re
import ssl
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import elasticsearch
import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Response

from shippers.errors import SinkRefused
from shippers.sinks.elasticsearch.connection import FAILURES, Connection, Credentials, trouble
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from tests.support.elasticsearch import SecuredCluster

NDJSON = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}
SECRET = "s3cret-passw0rd"
PEM = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def reason_of(connection: Connection) -> str:
    """Why a request fails; "" when it does not."""
    try:
        connection.request("GET", "/_security/_authenticate")
    except FAILURES as error:
        return trouble(error).reason
    finally:
        connection.close()
    return ""


@pytest.fixture
def options(secured_elasticsearch: SecuredCluster) -> ElasticsearchOptions:
    return ElasticsearchOptions(
        urls=(secured_elasticsearch.url,), ca_file=secured_elasticsearch.ca_file
    )


@pytest.fixture
def shipper(secured_elasticsearch: SecuredCluster) -> Callable[[], Credentials]:
    password = secured_elasticsearch.users["shipper"].password
    return lambda: Credentials("shipper", password)


@pytest.mark.parametrize("answer", [None, 413, 503])
def test_let_go(answer: int | None, httpserver: HTTPServer) -> None:
    """let_go: refused or answered with an error, also while no cyclic collection runs"""
    url = "http://127.0.0.1:1" if answer is None else httpserver.url_for("/")
    if answer is not None:
        httpserver.expect_request("/_bulk").respond_with_response(Response("{}", answer))
    connection = Connection(ElasticsearchOptions(urls=(url,)))
    body = b"{}\n" * 1000
    before = sys.getrefcount(body)
    gc.disable()
    try:
        for _ in range(3):
            with contextlib.suppress(*FAILURES):
                connection.request("POST", "/_bulk", headers=NDJSON, body=body)
        assert sys.getrefcount(body) == before
    finally:
        gc.enable()
        connection.close()


def fingerprint(authority: trustme.CA) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())).hexdigest()


def test_proven(
    secured_elasticsearch: SecuredCluster,
    options: ElasticsearchOptions,
    shipper: Callable[[], Credentials],
    tmp_path: Path,
) -> None:
    """proven: over TLS nothing is sent to a server that does not prove to be the right one"""
    stranger = trustme.CA()
    wrong_file = tmp_path / "other-ca.pem"
    stranger.cert_pem.write_to_path(wrong_file)
    right = fingerprint(secured_elasticsearch.authority)
    by_print = replace(options, ca_file=None, ca_fingerprint=right)
    spelled = ":".join(right[n : n + 2].upper() for n in range(0, 64, 2))
    for good in (options, by_print, replace(by_print, ca_fingerprint=spelled)):
        assert reason_of(Connection(good, shipper)) == ""
    refused = "cannot connect: the server's certificate is refused (self-signed certificate in"
    assert reason_of(Connection(replace(options, ca_file=wrong_file), shipper)).startswith(refused)
    assert "refused" in reason_of(Connection(replace(options, ca_file=None), shipper))
    wrong_print = replace(by_print, ca_fingerprint=fingerprint(stranger))
    assert "ca_fingerprint" in reason_of(Connection(wrong_print, shipper))


def test_a_certificate_for_another_name_is_refused(
    httpserver_for: Callable[..., HTTPServer], tmp_path: Path
) -> None:
    authority = trustme.CA()
    server = httpserver_for(authority, "es.example")
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    options = ElasticsearchOptions(urls=(f"https://127.0.0.1:{server.port}",), ca_file=ca_file)
    assert "IP address mismatch" in reason_of(Connection(options))
    assert server.log == []


def named_as(version: dict[str, Any]) -> Response:
    """Answer ``GET /`` as a cluster does that says this of its version, in no header."""
    body = {"cluster_name": "secret", "version": version, "tagline": "You Know, for Search"}
    return Response(json.dumps(body), 200, content_type="application/json")


PAGE = Response("<html>secret content</html>", 200, content_type="text/html")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (PAGE, "it answered with status 200, text/html, from Werkzeug"),
        (Response("<a/>", 200, content_type="application/xml"), "200, application/xml, from Werk"),
        (Response("{}", 200, content_type="application/json"), "200, application/json, from Werk"),
        (named_as({"distribution": "manticore", "number": "2.19.1"}), "200, application/json"),
        (named_as({"distribution": "OpenSearch", "number": "2.19.1"}), "200, application/json"),
        (named_as({"number": "9.5.0", "build_flavor": "default"}), "200, application/json"),
    ],
)
def test_named(httpserver: HTTPServer, answer: Response, words: str) -> None:
    """named: what is neither Elasticsearch nor OpenSearch is named at its first answer"""
    httpserver.expect_request(re.compile(".*")).respond_with_response(answer)
    connection = Connection(ElasticsearchOptions(urls=(httpserver.url_for("").rstrip("/"),)))
    with pytest.raises(elasticsearch.UnsupportedProductError) as raised:
        connection.request("POST", "/_bulk", headers=NDJSON, body=b"{}\n")
    reason = trouble(raised.value).reason
    assert reason.startswith("this is not Elasticsearch or OpenSearch: ")
    assert words in reason
    assert "secret" not in reason
    with pytest.raises(elasticsearch.UnsupportedProductError):
        connection.product()
    connection.close()


@pytest.mark.parametrize("kind", ["application/xml", "text/html", "application/octet-stream"])
def test_a_refusal_that_is_not_json_is_by_something_else(httpserver: HTTPServer, kind: str) -> None:
    page = Response("<Error>secret content</Error>", 403, content_type=kind)
    httpserver.expect_request(re.compile(".*")).respond_with_response(page)
    connection = Connection(ElasticsearchOptions(urls=(httpserver.url_for("").rstrip("/"),)))
    with pytest.raises(elasticsearch.ApiError) as raised:
        connection.request("POST", "/_bulk", headers=NDJSON, body=b"{}\n")
    assert trouble(raised.value).reason == (
        "the server answered 403, not in JSON: something else than Elasticsearch or OpenSearch"
        " answers there"
    )
    connection.close()


OPENSEARCH = {"version": {"distribution": "opensearch", "number": "2.19.1"}}
NO_PERMISSION = {
    "error": {
        "type": "security_exception",
        "reason": "no permissions for [cluster:monitor/main] and User [name=shipper]",
    }
}


@pytest.mark.parametrize(
    ("status", "body", "product"),
    [
        (200, OPENSEARCH, "opensearch"),
        (403, NO_PERMISSION, "opensearch"),
        (503, {"error": "no master"}, "elasticsearch"),
    ],
)
def test_a_cluster_is_recognised_by_what_it_says_of_itself(
    httpserver: HTTPServer, status: int, body: dict[str, Any], product: str
) -> None:
    httpserver.expect_request("/").respond_with_json(body, status)
    connection = Connection(ElasticsearchOptions(urls=(httpserver.url_for("").rstrip("/"),)))
    assert connection.product() == product
    connection.close()


@pytest.fixture
def httpserver_for(tmp_path: Path) -> Iterator[Callable[..., HTTPServer]]:
    """A TLS server with a certificate of an authority, which may ask for the client's."""
    started: list[HTTPServer] = []

    def start(authority: trustme.CA, name: str, *, ask_client: bool = False) -> HTTPServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain = authority.issue_cert(name).private_key_and_cert_chain_pem.bytes()
        pem = tmp_path / "server.pem"
        pem.write_bytes(chain + authority.cert_pem.bytes())
        context.load_cert_chain(pem)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(context)
        server = HTTPServer(ssl_context=context)
        server.expect_request("/_security/_authenticate").respond_with_response(
            Response(
                "{}", headers={"X-Elastic-Product": "Elasticsearch"}, mimetype="application/json"
            )
        )
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


def test_our_own_certificate_is_shown_to_a_server_that_asks(
    httpserver_for: Callable[..., HTTPServer], tmp_path: Path
) -> None:
    authority = trustme.CA()
    server = httpserver_for(authority, "127.0.0.1", ask_client=True)
    ca_file, both = tmp_path / "ca.pem", tmp_path / "client.pem"
    cert, key = tmp_path / "client.crt", tmp_path / "client.key"
    authority.cert_pem.write_to_path(ca_file)
    ours = authority.issue_cert("agent@hive1")
    ours.private_key_and_cert_chain_pem.write_to_path(both)
    ours.cert_chain_pems[0].write_to_path(cert)
    ours.private_key_pem.write_to_path(key)
    options = ElasticsearchOptions(urls=(f"https://127.0.0.1:{server.port}",), ca_file=ca_file)
    assert reason_of(Connection(options)).startswith("cannot connect: ")
    print_only = replace(options, ca_file=None, ca_fingerprint=fingerprint(authority))
    for with_ours in (
        replace(options, client_cert_file=both),
        replace(options, client_cert_file=cert, client_key_file=key),
        replace(print_only, client_cert_file=cert, client_key_file=key),
    ):
        assert reason_of(Connection(with_ours)) == ""


def test_renewed(options: ElasticsearchOptions, secured_elasticsearch: SecuredCluster) -> None:
    """renewed: renew takes new secrets and certificates; what is under way ends on the old ones"""
    right = secured_elasticsearch.users["shipper"].password
    current = [SECRET]
    connection = Connection(options, lambda: Credentials("shipper", current[0]))
    with pytest.raises(FAILURES) as refused:
        connection.request("GET", "/_security/_authenticate")
    assert trouble(refused.value).status == 401
    current[0] = right
    connection.renew()
    assert connection.request("GET", "/_security/_authenticate")["username"] == "shipper"
    connection.close()


def test_a_renewal_that_fails_leaves_what_was_in_use(
    options: ElasticsearchOptions, shipper: Callable[[], Credentials]
) -> None:
    answers: list[Any] = [shipper(), OSError("the file is gone")]

    def credentials() -> Credentials:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    connection = Connection(options, credentials)
    with pytest.raises(OSError, match="gone"):
        connection.renew()
    assert connection.request("GET", "/_security/_authenticate")["username"] == "shipper"
    connection.close()


def test_secret(
    options: ElasticsearchOptions,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """secret: no secret is in a repr, in a reason, in a log line or in a traceback"""
    caplog.set_level(logging.DEBUG)
    shown = []
    for credentials in (Credentials("shipper", SECRET), Credentials(api_key=SECRET)):
        connection = Connection(options, lambda made=credentials: made)
        try:
            connection.request("GET", "/_security/_authenticate")
        except FAILURES as error:
            shown += [repr(error), str(error), trouble(error).reason, traceback.format_exc()]
        shown += [repr(credentials), repr(connection), repr(options)]
        connection.close()
    key = tmp_path / "client.key"
    key.write_text(PEM)
    for broken in (
        replace(options, client_cert_file=key, client_key_file=key),
        replace(options, ca_file=key),
        replace(options, client_cert_file=tmp_path / "missing"),
    ):
        with pytest.raises(SinkRefused) as refused:
            Connection(broken)
        assert refused.value.path == broken.client_cert_file or broken.ca_file
        shown.append("".join(traceback.format_exception(refused.value)))
    everything = "\n".join([*shown, caplog.text])
    for secret in (SECRET, "c2VjcmV0", "c2hpcHBlcjpzM2NyZXQ"):  # the last is what HTTP basic sends
        assert secret not in everything
