"""Make the archive that the configuration names: its bucket, and the service that fills it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.errors import ConfigError
from shippers.archive.service import ArchiveService

if TYPE_CHECKING:
    from pathlib import Path

    from auditctl.config.model import Config
    from shippers.archive.bucket import Bucket

__all__ = ["make_archive", "make_bucket"]


def make_bucket(config: Config) -> Bucket:
    """Make the client of the bucket.  Raises ConfigError without one, or without boto3."""
    options = config.archive
    if options is None:
        raise ConfigError(
            "no archive is configured", hint="Add [archive] with a bucket to the configuration."
        )
    try:
        from shippers.archive.bucket import Bucket  # noqa: PLC0415  (only who archives needs boto3)
    except ImportError as error:
        raise ConfigError(
            f"[archive] needs a library that is not installed ({error.name})",
            hint="pip install 'llama-orch-auditlog[archive]'",
        ) from error
    secret = None
    if options.secret_access_key_file is not None:
        secret = _read_secret(options.secret_access_key_file)
    return Bucket(options, secret)


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the secret of [archive] cannot be read",
            path=path,
            errno=getattr(error, "errno", None),
            hint="The file holds the secret alone and belongs to the user we run as.",
        ) from error
    if not secret or "\n" in secret:
        raise ConfigError("the file has to hold the secret alone, on its one line", path=path)
    return secret


def make_archive(config: Config) -> ArchiveService:
    """Make the service that uploads what the directories hold.  Raises ConfigError."""
    bucket = make_bucket(config)
    assert config.archive is not None  # noqa: S101  (there is a bucket)
    return ArchiveService(
        config.directories,
        config.state_directory(),
        bucket,
        config.archive,
        host=config.host,
        checkpoints=lambda: _newest_checkpoints(config),
    )


def _newest_checkpoints(config: Config) -> list[list[str]]:
    """The newest signed checkpoint of each log that has any, as lines."""
    if not (config.state_directory() / "proofs").is_dir():
        return []
    # Imported here: only hosts that sign have checkpoints.
    from auditlog.evidence.checkpoint_file import read_checkpoints  # noqa: PLC0415  (see above)
    from auditlog.evidence.proof_state import ProofState  # noqa: PLC0415  (see above)

    state = ProofState(config.state_directory())
    found = []
    for log in state.logs():
        signed, _ = read_checkpoints(state.directory(log) / "checkpoints")
        newest = max(signed, key=lambda each: (each.checkpoint.size, each.at), default=None)
        if newest is not None:
            found.append(newest.note.lines())
    return found
