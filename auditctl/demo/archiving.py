"""Delete everything that is on the host of the demo, and prove its records from the bucket."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import auditlog
from auditctl.demo.object_store import client_of, secret_of
from auditctl.demo.stage import Auditctl
from auditlog import durable_fs
from auditlog.reading.inventory import scan

if TYPE_CHECKING:
    from pathlib import Path

    from auditctl.demo.stage import Show

__all__ = ["BUCKET", "ProvenFromBucket", "RecordId", "archive_table", "prove_from_bucket"]

BUCKET = "audit-archive"

RecordId = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class ProvenFromBucket:
    """The number of records that the bucket proves, and whether they are those that were archived.

    ``refused`` says whether the bucket refused to delete an object.
    """

    records: int
    missing: int
    verified: bool
    refused: bool


def archive_table(directory: Path, url: str, user: str) -> str:
    """Return the table [archive] for a key; its secret is written into the directory."""
    secret = directory / f"{user}.secret"
    secret.write_text(secret_of(user), "utf-8")
    return f"""
[archive]
bucket = "{BUCKET}"
endpoint = "{url}"
access_key_id = "{user}"
secret_access_key_file = "{secret}"
manifest_every = "2s"
"""


def prove_from_bucket(
    directory: Path, host: str, url: str, on_disk: set[RecordId], show: Show
) -> ProvenFromBucket:
    """Delete logs, state and sink; verify the bucket, restore from it and verify that.

    ``on_disk`` are the records that were ever there.
    """
    audit = directory / "audit"
    unfinished = {
        (record.log, record.seq, record.hash)
        for segments in scan(audit).logs.values()
        for record in auditlog.read(segments[-1].path, log_events=True)
    }
    shutil.rmtree(audit)
    shutil.rmtree(directory / "state")
    for path in directory.glob("sink.sqlite*"):
        durable_fs.unlink(path)
    show.note("the logs, the state and the sink of this host are deleted")
    config = directory / "auditor.toml"
    table = archive_table(directory, url, "reader")
    config.write_text(f'host = "{host}"\n{table}', "utf-8")
    program = Auditctl(f"--config={config}")
    code, found = program.json("archive", "verify", codes=(0, 1))
    show.note(f"{sum(each['records'] for each in found['hosts']):,} records verify in the bucket")
    restored = directory / "restored"
    program.json("archive", "restore", f"--to={restored}")
    verified, _ = Auditctl().json("verify", str(restored), codes=(0, 1))
    there = {
        (record.log, record.seq, record.hash) for record in auditlog.read(restored, log_events=True)
    }
    missing = on_disk - unfinished - there
    return ProvenFromBucket(
        len(there), len(missing), code == 0 and verified == 0, _refuses_deletion(url)
    )


def _refuses_deletion(url: str) -> bool:
    """Whether the bucket keeps an object that even its administrator asks it to delete."""
    from botocore.exceptions import ClientError  # noqa: PLC0415  (only this part needs it)

    with closing(client_of(url)) as client:
        listed = client.list_object_versions(Bucket=BUCKET, Prefix="v1/", MaxKeys=1)
        found = listed["Versions"][0]
        try:
            client.delete_object(Bucket=BUCKET, Key=found["Key"], VersionId=found["VersionId"])
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "AccessDenied")
    return False
