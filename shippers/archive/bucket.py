"""Ask an S3 server: store, list and read the versions of objects, and read the bucket's lock.

Every upload names its SHA-256, which the server compares with the bytes that it received before it
accepts them, and the lock that keeps them.  Nothing is tried again here.

Invariants (tests of the same name in tests/shippers/archive/test_bucket.py):
  checked      bytes that are not those of the hash are refused by the server, also in parts
  only_new     an object that is there already is not put over
  locked       an object cannot be deleted, nor its lock shortened, by who may write
  told         each refusal is an ArchiveUnavailable that says what to do, without a secret
  named        what is no S3 server is named at its first answer
"""

from __future__ import annotations

import datetime as dt
from base64 import b64encode
from contextlib import contextmanager
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from auditlog.errors import AuditLogError
from shippers.archive.objects import BucketLock, ObjectState, ObjectVersion
from shippers.archive.packing import PART_BYTES, PartDigests
from shippers.errors import ArchiveUnavailable, ObjectExists, ObjectMissing
from shippers.other_server import describe, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shippers.archive.options import ArchiveOptions
    from shippers.archive.packing import Measured

__all__ = ["Bucket"]

_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60

_MISSING: Final = {"404", "NoSuchKey", "NoSuchVersion", "NotFound"}
_UNLOCKED: Final = {
    *("NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest")
}
"""The answers of servers that are asked for the lock of an object that has none."""
_HINTS: Final = {
    "AccessDenied": "The key needs s3:PutObject and s3:PutObjectRetention to upload, and"
    " the permissions of docs/archive.md to read.",
    "InvalidAccessKeyId": "The server does not know the key: see access_key_id.",
    "SignatureDoesNotMatch": "The secret is not that of the key: see secret_access_key_file.",
    "ExpiredToken": "The credentials have expired: renew them.",
    "TokenRefreshRequired": "The credentials have expired: renew them.",
    "RequestTimeTooSkewed": "The clock of this host differs from the server's by more than"
    " 15 minutes: see timedatectl.",
    "NoSuchBucket": "Make the bucket, with Object Lock: see docs/archive.md.",
    "SlowDown": "The server asks to send less; it is tried again.",
    "InvalidRequest": "The bucket needs Object Lock, which is chosen when it is made: see"
    " docs/archive.md.",
    "ObjectLockConfigurationNotFoundError": "Make a bucket with Object Lock: see docs/archive.md.",
    "InsufficientStorage": "The server has no space left.",
    "XMinioStorageFull": "The server has no space left.",
    "QuotaExceeded": "The bucket's quota is used up.",
}


_NOT_XML: Final = 500
"""The status that botocore gives to a success that is no XML."""

_OTHER_WORDS: Final = "it answered in words that S3 does not have"
_ENDPOINT: Final = "Check endpoint of [archive]: it is the URL of an S3 server."


class Bucket:
    """The configured bucket.  Connects when first used.  Every method raises ArchiveUnavailable.

    ``secret`` is that of the options' access key.
    """

    def __init__(self, options: ArchiveOptions, secret: str | None) -> None:
        self._options = options
        self._name = options.bucket
        with self._asked(""):
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=options.endpoint or None,
                region_name=options.region or ("us-east-1" if options.endpoint else None),
                aws_access_key_id=options.access_key_id,
                aws_secret_access_key=secret,
                verify=None if options.ca_file is None else str(options.ca_file),
                config=ClientConfig(
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    retries={"total_max_attempts": 1},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path"} if options.endpoint else {},
                ),
            )

        if options.endpoint:
            # botocore asks for the region of a bucket after each redirect, also after one of that
            # question, without end; only AWS has regions.
            self._client.meta.events.register("before-call.s3.HeadBucket", _without_region)

    def close(self) -> None:
        self._client.close()

    def put(
        self,
        key: str,
        body: BinaryIO | bytes,
        measured: Measured,
        until: dt.datetime,
        *,
        only_new: bool = True,
    ) -> str:
        """Store an object, locked until then, and return the id of its version.

        The server accepts it only with its checksum, in one piece or in parts.  Raises ObjectExists
        when only_new and there is one already.
        """
        lock = {"ObjectLockMode": self._options.mode, "ObjectLockRetainUntilDate": until}
        new = {"IfNoneMatch": "*"} if only_new else {}
        if measured.in_parts and not isinstance(body, bytes):
            return self._put_parts(key, body, measured, lock, new)
        with self._asked(key):
            answer = self._client.put_object(
                Bucket=self._name,
                Key=key,
                Body=body,
                ContentLength=measured.size_bytes,
                ContentType="application/json" if key.endswith(".json") else "application/zstd",
                ChecksumSHA256=measured.checksum,
                **lock,
                **new,
            )
        return self._version(key, answer, measured)

    def _put_parts(
        self,
        key: str,
        body: BinaryIO,
        measured: Measured,
        lock: dict[str, Any],
        new: dict[str, str],
    ) -> str:
        place = {"Bucket": self._name, "Key": key}
        with self._asked(key):
            upload = self._client.create_multipart_upload(
                **place, ChecksumAlgorithm="SHA256", ContentType="application/zstd", **lock
            )
        place["UploadId"] = upload["UploadId"]
        parts: list[dict[str, Any]] = []
        sent = PartDigests()
        try:
            while piece := body.read(PART_BYTES):
                sent.update(piece)
                checksum = b64encode(sha256(piece).digest()).decode()
                part = {"PartNumber": len(parts) + 1, "ChecksumSHA256": checksum}
                with self._asked(key):
                    answer = self._client.upload_part(**place, **part, Body=piece)
                parts.append({**part, "ETag": answer["ETag"]})
            self._check(key, sent.checksum(), measured)
            with self._asked(key):
                answer = self._client.complete_multipart_upload(
                    **place, MultipartUpload={"Parts": parts}, **new
                )
        except (AuditLogError, OSError):
            self._abandon(place)
            raise
        return self._version(key, answer, measured)

    def _abandon(self, place: dict[str, Any]) -> None:
        """Free the parts of an upload that failed, as far as the server lets us."""
        try:
            self._client.abort_multipart_upload(**place)
        except (BotoCoreError, ClientError):
            return  # the rule of the bucket for incomplete uploads removes them; see the docs

    def _check(self, key: str, checksum: str, measured: Measured) -> None:
        if checksum != measured.checksum:
            raise ArchiveUnavailable(
                f"{self._options.address}: {key} would be stored with another checksum"
                f" ({checksum})",
                hint="It is uploaded again. Was the segment changed meanwhile?",
            )

    def _version(self, key: str, answer: dict[str, Any], measured: Measured) -> str:
        self._expect(answer, "ETag")
        self._check(key, answer.get("ChecksumSHA256", measured.checksum), measured)
        version = str(answer.get("VersionId", ""))
        if version in ("", "null"):
            raise ArchiveUnavailable(
                f"{self._options.address}: the bucket keeps no versions, so that it protects none",
                hint="Make a bucket with Object Lock: see docs/archive.md.",
            )
        return version

    def state(self, key: str, version: str = "") -> ObjectState:
        """Look at one version, or at the newest.  Raises ObjectMissing."""
        which = {"VersionId": version} if version else {}
        with self._asked(key):
            found = self._client.head_object(
                Bucket=self._name, Key=key, ChecksumMode="ENABLED", **which
            )
        lock = found.get("ObjectLockMode", ""), found.get("ObjectLockRetainUntilDate")
        return ObjectState(
            found.get("VersionId", ""),
            found["ContentLength"],
            found.get("ChecksumSHA256", ""),
            *(lock if all(lock) else self._lock_of(key, which)),
        )

    def _lock_of(self, key: str, which: dict[str, str]) -> tuple[str, dt.datetime | None]:
        """Ask for the lock itself, which the answer about an object may lack.

        AWS names it there only to who may ask for it, versitygw only for the newest version.
        """
        try:
            with self._asked(key):
                answer = self._client.get_object_retention(Bucket=self._name, Key=key, **which)
        except ArchiveUnavailable as error:
            if error.code in _UNLOCKED:
                return "", None
            raise
        lock = answer.get("Retention", {})
        return lock.get("Mode", ""), lock.get("RetainUntilDate")

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """List every version and delete marker below a prefix, in the order of their keys."""
        pages = iter(
            self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._name, Prefix=prefix
            )
        )
        while True:
            with self._asked(prefix):
                page = next(pages, None)
            if page is None:
                return
            self._expect(page, "IsTruncated")
            listed = [(each, False) for each in page.get("Versions", ())]
            listed += [(each, True) for each in page.get("DeleteMarkers", ())]
            for each, marker in sorted(listed, key=lambda one: str(one[0]["Key"])):
                yield ObjectVersion(
                    each["Key"],
                    each["VersionId"],
                    each.get("Size", 0),
                    each["IsLatest"],
                    marker,
                    each["LastModified"],
                )

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below a prefix, whatever versions are in them."""
        found: list[str] = []
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._name, Prefix=prefix, Delimiter="/"
        )
        with self._asked(prefix):
            for page in pages:
                self._expect(page, "IsTruncated")
                found += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
        return sorted({name.removeprefix(prefix).rstrip("/") for name in found})

    def read(self, key: str, version: str) -> Iterator[bytes]:
        """Yield the bytes of one version, of which never more than a piece is in memory."""
        with self._asked(key):
            answer = self._client.get_object(Bucket=self._name, Key=key, VersionId=version)
            body = answer["Body"]
        try:
            while True:
                with self._asked(key):
                    piece = body.read(1 << 18)
                if not piece:
                    return
                yield piece
        finally:
            body.close()

    def lock(self) -> BucketLock:
        """Return the bucket's default lock.  Raises ArchiveUnavailable without Object Lock."""
        with self._asked(""):
            answer = self._client.get_object_lock_configuration(Bucket=self._name)
        found = answer.get("ObjectLockConfiguration", {})
        if not found:
            raise _not_s3(self._options.address, answer)
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        days = rule.get("Days", 0) + 365 * rule.get("Years", 0)
        return BucketLock(rule.get("Mode", ""), dt.timedelta(days=days) if days else None)

    def _expect(self, answer: dict[str, Any], member: str) -> None:
        """Refuse a success that lacks what S3 says with it."""
        if member not in answer:
            raise _not_s3(self._options.address, answer)

    @contextmanager
    def _asked(self, key: str) -> Iterator[None]:
        """Raise what the library raises as one of our errors."""
        place = f"{self._options.address}: {key}" if key else self._options.address
        try:
            yield
        except ClientError as error:
            raise _refusal(place, error) from error
        except NoCredentialsError as error:
            raise ArchiveUnavailable(
                f"{place}: there is no key to log in with",
                hint="Set access_key_id and secret_access_key_file of [archive].",
            ) from error
        except (BotoConnectionError, HTTPClientError) as error:
            broke_off = f"the server cannot be reached, or broke off ({type(error).__name__})"
            raise ArchiveUnavailable(
                f"{place}: {spoken(error) or broke_off}",
                hint="It is tried again. Check endpoint, network and certificates.",
            ) from error
        except ResponseParserError as error:
            raise ArchiveUnavailable(
                f"{place}: this is not S3: {_OTHER_WORDS}",
                hint=_ENDPOINT,
            ) from error
        except (BotoCoreError, ValueError) as error:
            raise ArchiveUnavailable(
                f"{place}: the request cannot be made ({type(error).__name__})",
                hint="Check the settings of [archive].",
            ) from error


def _without_region(**_: object) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Answer in the server's place, as if it had said nothing of a region."""
    return SimpleNamespace(status_code=200), {"ResponseMetadata": {"HTTPHeaders": {}}}


def _not_s3(place: str, answer: Mapping[str, Any]) -> ArchiveUnavailable:
    meta = answer.get("ResponseMetadata", {})
    status = meta.get("HTTPStatusCode", _NOT_XML)
    said = f"this is not S3: {_OTHER_WORDS}"
    if status != _NOT_XML:
        said = describe("S3", status, meta.get("HTTPHeaders", {}))
    return ArchiveUnavailable(f"{place}: {said}", hint=_ENDPOINT)


def _is_not_s3(status: int, code: str, error: ClientError) -> bool:
    """Whether it lacks the word that S3 gives for each error, except where it has no body.

    What stands before S3 may lack it, too, when S3 is away or busy.
    """
    meta = error.response.get("ResponseMetadata", {})
    kind = meta.get("HTTPHeaders", {}).get("content-type", "")
    refused = 300 <= status < 500 and status != 429
    strange = refused or (status == _NOT_XML and "xml" not in kind)
    return code.isdigit() and strange and error.operation_name != "HeadObject"


def _refusal(place: str, error: ClientError) -> ArchiveUnavailable:
    found = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(found.get("Code", status))
    if _is_not_s3(status, code, error):
        return _not_s3(place, error.response)
    if status == 412:
        return ObjectExists(f"{place}: there is an object of this name already")
    if code in _MISSING:
        return ObjectMissing(f"{place}: there is no such object")
    if code in ("403", "Forbidden"):
        code = "AccessDenied"
    hint = _HINTS.get(code, "It is tried again. Ask whoever runs the server.")
    return ArchiveUnavailable(f"{place}: {code} ({status})", hint=hint, code=code)
