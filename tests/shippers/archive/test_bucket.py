from __future__ import annotations

import datetime as dt
import io
import os
import re
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest
from werkzeug import Response

from shippers.archive import packing
from shippers.archive.packing import Measured, PartDigests
from shippers.errors import ArchiveUnavailable, ObjectExists, ObjectMissing
from tests.support.ports import free_port
from tests.support.s3 import S3Bucket, S3Proxy, S3Server, secret_of

if TYPE_CHECKING:
    from pytest_httpserver import HTTPServer

    from shippers.archive.bucket import Bucket

UNTIL = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(hours=2)


def in_parts(content: bytes) -> Measured:
    digests = PartDigests()
    digests.update(content)
    return replace(Measured.of(content), checksum=digests.checksum())


def test_checked(s3_bucket: S3Bucket) -> None:
    large = os.urandom(packing.PART_BYTES + 1000)
    with closing(s3_bucket.opened("writer")) as bucket, closing(s3_bucket.opened()) as reader:
        for key, content, measured in (
            ("v1/one", b"as it is", Measured.of(b"as it is")),
            ("v1/parts", large, in_parts(large)),
        ):
            other = Measured.of(content[1:]) if key == "v1/one" else in_parts(large[1:] + b"x")
            wrong = cast("BinaryIO", io.BytesIO(content))
            with pytest.raises(ArchiveUnavailable, match=r"BadDigest|another checksum"):
                bucket.put(f"{key}-wrong", wrong, replace(other, size_bytes=len(content)), UNTIL)
            body = cast("BinaryIO", io.BytesIO(content))
            version = bucket.put(key, body, measured, UNTIL)
            state = reader.state(key, version)
            assert (state.size_bytes, state.checksum) == (len(content), measured.checksum)
            assert (state.mode, state.retain_until) == ("GOVERNANCE", UNTIL)
            assert b"".join(reader.read(key, version)) == content


def test_only_new(s3_bucket: S3Bucket) -> None:
    with closing(s3_bucket.opened("writer")) as bucket, closing(s3_bucket.opened()) as reader:
        version = bucket.put("v1/key", b"first", Measured.of(b"first"), UNTIL)
        with pytest.raises(ObjectExists, match="v1/key"):
            bucket.put("v1/key", b"other", Measured.of(b"other"), UNTIL)
        assert [each.version for each in reader.versions("v1/")] == [version]


def test_locked(s3_bucket: S3Bucket) -> None:
    from botocore.exceptions import ClientError

    with closing(s3_bucket.opened("writer")) as bucket:
        version = bucket.put("v1/key", b"kept", Measured.of(b"kept"), UNTIL)
    which = {"Bucket": s3_bucket.name, "Key": "v1/key", "VersionId": version}
    sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL - dt.timedelta(hours=1)}
    for user in ("writer", "admin"):
        with closing(s3_bucket.client(user)) as client:
            with pytest.raises(ClientError, match="AccessDenied"):
                client.delete_object(**which)
            with pytest.raises(ClientError, match="AccessDenied"):
                client.put_object_retention(**which, Retention=sooner)
    with closing(s3_bucket.opened()) as reader:
        assert reader.state("v1/key", version).retain_until == UNTIL
        assert reader.lock().period is None


REFUSALS = [
    ((503, "SlowDown"), "SlowDown", "less"),
    ((403, "RequestTimeTooSkewed"), "RequestTimeTooSkewed", "clock"),
    ((400, "ExpiredToken"), "ExpiredToken", "renew"),
    ((507, "InsufficientStorage"), "InsufficientStorage", "no space"),
    ((500, "InternalError"), "InternalError", "tried again"),
    ("cut request", "broke off", "network"),
    ("lose response", "broke off", "network"),
]


@pytest.mark.parametrize(("done", "reason", "hint"), REFUSALS, ids=lambda each: str(each)[:30])
def test_told(s3_bucket: S3Bucket, done: tuple[int, str] | str, reason: str, hint: str) -> None:
    with S3Proxy(s3_bucket.server, lambda *_: done) as proxy:
        disturbed = replace(s3_bucket, server=proxy.server)
        with closing(disturbed.opened("writer")) as bucket, pytest.raises(ArchiveUnavailable) as no:
            bucket.put("v1/key", b"bytes", Measured.of(b"bytes"), UNTIL)
    assert reason in str(no.value)
    assert hint in str(no.value)
    assert secret_of("writer") not in str(no.value)


def test_told_by_the_server_itself(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(bucket: Bucket, key: str = "v1/key") -> str:
        with closing(bucket), pytest.raises(ArchiveUnavailable) as no:
            bucket.put(key, b"bytes", Measured.of(b"bytes"), UNTIL)
        return str(no.value)

    from shippers.archive.bucket import Bucket

    options = s3_bucket.options
    assert "unknown" not in (said := refusal(Bucket(options("unknown"), "x")))
    assert "access_key_id" in said
    assert "secret_access_key_file" in refusal(Bucket(options("writer"), "not the secret"))
    assert "Make the bucket" in refusal(
        Bucket(options("admin", bucket="nobody-made-it"), secret_of("admin"))
    )
    assert "PutObject" in refusal(s3_bucket.opened("reader"))
    nowhere = options(endpoint=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in refusal(Bucket(nowhere, secret_of("writer")))
    open_bucket = s3_bucket.server.make_bucket(lock=False)
    assert "Object Lock" in refusal(open_bucket.opened("writer"))
    with closing(s3_bucket.opened()) as reader, pytest.raises(ObjectMissing, match="no such"):
        reader.state("v1/key")
    import botocore.auth

    wrong = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda *_: wrong.replace(tzinfo=None)
    )
    assert "timedatectl" in refusal(s3_bucket.opened("writer"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Response("<br>secret", 200, content_type="text/html"), "it answered in words that S3"),
        (Response("<html/>", 200, content_type="text/html"), "status 200, text/html"),
        (Response("{}", 200, content_type="application/json"), "it answered in words that S3"),
        (Response("", 302, {"Location": "/login"}, content_type="text/html"), "status 302"),
        (Response("secret", 403, content_type="text/html"), "status 403, text/html"),
        (Response("secret", 404, content_type="text/html"), "status 404, text/html"),
    ],
    ids=["page", "xhtml", "json", "login", "forbidden", "missing"],
)
def test_named(httpserver: HTTPServer, answer: Response, words: str) -> None:
    """named: what is no S3 server is named at its first answer"""
    httpserver.expect_request(re.compile(".*")).respond_with_response(answer)
    here = S3Bucket(S3Server(httpserver.url_for("").rstrip("/")), "audit")
    content = b"a segment"
    with closing(here.opened()) as bucket:
        for ask in (
            bucket.lock,
            lambda: bucket.folders("v1/"),
            lambda: next(bucket.versions("v1/")),
            lambda: bucket.put("v1/a", content, Measured.of(content), dt.datetime.now(dt.UTC)),
        ):
            with pytest.raises(ArchiveUnavailable) as refused:
                ask()
            assert refused.value.reason.startswith(here.server.url)
            assert "this is not S3: " in refused.value.reason
            assert words in refused.value.reason
            assert "secret" not in str(refused.value)
