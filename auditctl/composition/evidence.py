"""Load the configured signing key and trust policy; create the signer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.errors import ConfigError
from auditlog.evidence.collection import read_up_to
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import Signer
from auditlog.evidence.policy import MAX_POLICY_BYTES, TrustPolicy
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.service import EvidenceOptions, EvidenceService
from auditlog.evidence.stamping import Stamping
from auditlog.evidence.timestamp import TimeStampAuthority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditctl.config.model import Config
    from auditlog.evidence.checkpoint_file import Signed

__all__ = [
    "accepted",
    "best_checkpoint",
    "key_path",
    "load_key",
    "load_policy",
    "load_previous_key",
    "make_evidence",
    "previous_key_path",
]


def key_path(config: Config) -> Path:
    """Return the path of the private key, which may not exist.  Raises ConfigError."""
    return config.evidence.key or config.state_directory() / "evidence.key"


def previous_key_path(config: Config) -> Path:
    """Return the path of the key before the present one.  Raises ConfigError."""
    path = key_path(config)
    return path.with_name(f"{path.name}.previous")


def load_key(config: Config) -> Signer | None:
    """Load the signing key, under the origin that is configured; None where there is none.

    Raises ConfigError.
    """
    return _load(config, key_path(config), is_needed=config.evidence.key is not None)


def load_previous_key(config: Config) -> Signer | None:
    """Load the key that signs beside the present one, until its rotation is finished.

    Raises ConfigError.
    """
    previous = _load(config, previous_key_path(config), is_needed=False)
    key = load_key(config)
    return None if previous is None or key is None or previous.key == key.key else previous


def _load(config: Config, path: Path, *, is_needed: bool) -> Signer | None:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if not is_needed:
            return None
        raise ConfigError(
            "the key of [evidence] is not there", path=path, hint="auditctl evidence init makes it."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the key of [evidence] cannot be read",
            path=path,
            errno=getattr(error, "errno", None),
            hint="It belongs to the user that the agent runs as, with mode 0600.",
        ) from error
    try:
        key = Signer.parse(text)
        return key.renamed(config.evidence.origin) if config.evidence.origin else key
    except BadEvidence as error:
        raise ConfigError(error.reason, path=path, hint="Restore it from its copy.") from None


def load_policy(path: Path) -> TrustPolicy:
    """Load a trust policy.  Raises ConfigError, naming the file and the line."""
    try:
        return TrustPolicy.parse(read_up_to(path, MAX_POLICY_BYTES))
    except OSError as error:
        raise ConfigError(
            "the trust policy cannot be read", path=path, errno=error.errno
        ) from error
    except BadEvidence as error:
        raise ConfigError(error.reason, path=path, hint=error.hint) from None


def make_evidence(config: Config) -> EvidenceService | None:
    """Make the service that signs the configured logs; None without a key.  Raises ConfigError."""
    if not config.directories:
        return None
    key = load_key(config)
    if key is None:
        return None
    policy, place = config.evidence.policy, config.evidence.timestamps_ca
    return EvidenceService(
        config.directories,
        ProofState(config.state_directory()),
        key,
        EvidenceOptions(
            config.evidence.checkpoint_every, leaves_kept_for=config.evidence.leaves_kept_for()
        ),
        policy=None if policy is None else load_policy(policy),
        host=config.host,
        retention_hosts=config.deleting_hosts(),
        previous_key=load_previous_key(config),
        stamping=(
            None
            if place is None
            else Stamping(TimeStampAuthority(config.evidence.timestamps, place))
        ),
    )


def best_checkpoint(
    signed: Sequence[Signed], seq: int, policy: TrustPolicy | None
) -> Signed | None:
    """Return the newest checkpoint that covers the record, preferably one with a quorum."""
    having = [each for each in signed if each.checkpoint.size >= seq]
    cosigned = [each for each in having if policy is not None and accepted(policy, each)]
    return max(cosigned or having, key=lambda each: (each.checkpoint.size, each.at), default=None)


def accepted(policy: TrustPolicy, signed: Signed) -> bool:
    """Whether the policy accepts the checkpoint."""
    try:
        return policy.trust(signed.note).quorum
    except BadEvidence:
        return False
