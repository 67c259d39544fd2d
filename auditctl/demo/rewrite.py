"""Rewrite a log with full control of its host, as the demo's last attack.

The host signs checkpoints, a witness cosigns them, and the auditor keeps one.  Then records are
exchanged, with hashes that fit and the host's own key, in the files, the notes, the signer's state,
the cursors and the sink.  The chain verifies; what the witness remembers does not fit.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditctl.demo.stage import Auditctl, DemoFailed, WitnessProcess, Writer
from auditlog import durable_fs
from auditlog.evidence.checkpoint import origin_of
from auditlog.evidence.witness_client import fetch_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from auditctl.demo.stage import Show

__all__ = ["Rewritten", "rewrite"]

_KEPT: Final = 300
_EVENTS: Final = 600
_FORGED: Final = 400


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The result: ``seq`` is the first record that the forgery changed, 0 if it was not found.

    ``witnessed`` is the number of records that the witness remembers.
    """

    verified_before: bool
    chain_verified_after: bool
    signing_refused: bool
    seq: int
    witnessed: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Host:
    """A host of its own in the demo's directory."""

    place: Path
    run: str

    @property
    def log(self) -> str:
        return f"queen-rbee@signed-{self.run}"

    @property
    def prefix(self) -> str:
        return f"demo.example/{self.run}"

    @property
    def program(self) -> Auditctl:
        return Auditctl(f"--config={self.place / 'config.toml'}")

    def configure(self) -> None:
        (self.place / "audit").mkdir(mode=0o700, parents=True)
        (self.place / "config.toml").write_text(
            f"""host = "signed-{self.run}"
directories = ["{self.place / "audit"}"]
state_dir = "{self.place / "state"}"
metrics = ""

[evidence]
policy = "{self.place / "trust.policy"}"

[sinks.main]
kind = "sqlite"
path = "{self.place / "sink.sqlite"}"
""",
            "utf-8",
        )

    def write(self, count: int, seed: int) -> None:
        """A service emits events; another seed makes other ones."""
        Writer(self.place / "audit", self.log, count, 1e9, kills=seed).run_to_end()

    def records(self) -> int:
        """The lines that there are of its log."""
        return sum(path.read_bytes().count(b"\n") for path in self.segments())

    def segments(self) -> list[Path]:
        return sorted((self.place / "audit").glob(f"{self.log}.*.ndjson"))

    def sign(self) -> bool:
        """Whether everything is signed, and cosigned by the witness."""
        code, _ = self.program.json("evidence", "sign", codes=(0, 1))
        return code == 0

    def verify(self) -> dict[str, Any]:
        """Verify the log as an auditor does, with policy, witness and checkpoint."""
        audit, kept = self.place / "audit", self.place / "kept.checkpoint"
        options = [f"--policy={self.place / 'auditor.policy'}", f"--checkpoint={kept}"]
        _, report = self.program.json("verify", str(audit), *options, codes=(0, 1))
        return next(each for each in report["logs"] if each["log"] == self.log)

    def forge(self, kept: int) -> None:
        """Write the log anew from a record on, and destroy everything that would tell."""
        first, *others = self.segments()
        lines = first.read_bytes().splitlines(keepends=True)
        first.write_bytes(b"".join(lines[:kept]))
        for path in others:
            durable_fs.unlink(path)
        for path in (self.place / "audit").glob("evidence@*"):
            durable_fs.unlink(path)
        shutil.rmtree(self.place / "audit/.auditlog", ignore_errors=True)
        for name in ("proofs", "cursors"):
            shutil.rmtree(self.place / "state" / name, ignore_errors=True)
        for path in self.place.glob("sink.sqlite*"):
            durable_fs.unlink(path)
        self.write(_FORGED, seed=99)
        self.program.json("ship", "--once")


def rewrite(directory: Path, run: str, show: Show) -> Rewritten:
    """Play it in a directory that is there.  Raises DemoFailed when a part does not even run."""
    host = _Host(directory / "signed", run)
    host.configure()
    show.step("A witness on another host cosigns what a log holds; an auditor keeps one checkpoint")
    host.write(_KEPT, seed=1)
    host.program.text("evidence", "init", f"--origin={host.prefix}")
    known = host.program.text("evidence", "init", "--for-witness")
    (host.place / "witnessed").write_text(known, "utf-8")
    with ExitStack() as stack:
        witness = stack.enter_context(WitnessProcess(host.place / "witness", host.place))
        own = f"{witness.policy_line}\nquorum w1\n"
        (host.place / "trust.policy").write_text(own, "utf-8")
        (host.place / "auditor.policy").write_text(
            host.program.text("evidence", "init") + own, "utf-8"
        )
        signed = host.sign()
        note = fetch_checkpoint(witness.url, origin_of(host.prefix, host.log))
        if not signed or note is None:
            raise DemoFailed("the witness did not cosign the log")
        (host.place / "kept.checkpoint").write_bytes(note.to_bytes())
        kept = host.records()
        host.write(_EVENTS - _KEPT, seed=2)
        host.sign()
        host.program.json("ship", "--once")
        before, witnessed = host.verify(), host.records()
        show.note(f"{witnessed:,} records are signed, witnessed, and in the sink")
        show.step(f"Write the log anew from record {kept + 1} on, with all that its host has")
        host.forge(kept)
        _, chain = host.program.json("verify", str(host.place / "audit"), codes=(0, 1))
        show.note(f"the chain alone verifies: {'yes' if chain['ok'] else 'no'}")
        refused = not host.sign()
        after = host.verify()
    found = [each for each in after["findings"] if each["kind"] == "root_mismatch"]
    for each in found:
        show.note(f"root_mismatch: {each['detail']}")
    return Rewritten(
        verified_before=bool(before["ok"]),
        chain_verified_after=bool(chain["ok"]),
        signing_refused=refused,
        seq=min((int(each["seq"]) for each in found), default=0),
        witnessed=witnessed,
        kept=kept,
    )
