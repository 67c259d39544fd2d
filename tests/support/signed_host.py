"""A host whose logs are signed, with witnesses that are only keys: no servers, no agent."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import zstandard

from auditctl.main import main
from auditlog.evidence.checkpoint_file import CheckpointFile
from tests.support.host_places import HostPlaces
from tests.support.logs import LogBuilder, write_log
from tests.support.trees import witness

__all__ = ["ORIGIN_PREFIX", "SECONDS", "SignedHost", "unpack"]

ORIGIN_PREFIX = "audit.example.com/hive1"
SECONDS = 1_800_000_000
"""When the witnesses cosign: 2027-01-15T08:00:00Z."""


def unpack(archive: Path, place: Path) -> Path:
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        tar.extractall(place, filter="data")
    return place / archive.name.removesuffix(".tar.zst")


@dataclass
class SignedHost(HostPlaces):
    """Three days of a log, five records each; ``policy`` wants two of three witnesses."""

    place: Path
    log: LogBuilder
    exports: int = 0

    @classmethod
    def build(cls, place: Path) -> SignedHost:
        host = cls(place, write_log(place / "audit", records=5, segments=3, days=1))
        host.config.write_text(
            f'directories = ["{place}/audit"]\nstate_dir = "{place}/state"\nhost = "hive1"\n'
        )
        keys = host.run("evidence", "init", "--origin", ORIGIN_PREFIX)
        lines = [line for line in keys.splitlines() if line.startswith("log ")]
        lines += [f"witness w{n} {witness(n).cosigner}" for n in (1, 2, 3)]
        host.policy.write_text("\n".join([*lines, "group g 2 w1 w2 w3", "quorum g", ""]))
        return host

    @property
    def checkpoints(self) -> Path:
        return self.state / "proofs" / self.log.log / "checkpoints"

    def run(self, *arguments: str, code: int = 0) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([*arguments, "--config", str(self.config)]) == code
        return out.getvalue()

    def sign(self, *witnesses: int) -> None:
        """Sign every log as it is, and have its newest checkpoint cosigned."""
        self.run("evidence", "sign")
        for path in sorted(self.state.glob("proofs/*/checkpoints")):
            self.cosign(path, *witnesses)

    def cosign(self, path: Path, *witnesses: int) -> None:
        file = CheckpointFile(path)
        assert file.newest is not None
        note = file.newest.note
        more = [witness(n).cosign(note.text, SECONDS) for n in witnesses]
        file.append(note.with_signatures(more), dt.datetime.now(dt.UTC))

    def export(self, *options: str, code: int = 0) -> Path:
        """Export everything, or what the options say; return the unpacked directory."""
        self.exports += 1
        target = self.place / f"case-{self.exports}.tar.zst"
        self.run("export", *options, "-o", str(target), code=code)
        return unpack(target, self.place)
