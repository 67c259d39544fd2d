"""The S3 server of the demo leaves every port free but its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.demo.object_store import ObjectStoreProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.s3 import S3Server


def test_two_run_side_by_side(tmp_path: Path, s3_server: S3Server) -> None:
    with ObjectStoreProcess(tmp_path / "s3") as second:
        assert second.url != s3_server.url
        second.make_bucket("beside-the-first")
    assert s3_server.make_bucket(name="still-there").listed() == []
