"""Find the last witnessed record of each log, for retention's ``not_witnessed`` rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditctl.config.model import Config

__all__ = ["witnessed_seqs"]


def witnessed_seqs(config: Config) -> Mapping[str, int] | None:
    """The last record of each log that a quorum cosigned; None without a policy of witnesses.

    A log that is not in it was never witnessed.  Raises ConfigError, BadEvidence, OSError.
    """
    if config.evidence.policy is None:
        return None
    # Imported here: only who has a policy needs the libraries of evidence.
    from auditctl.composition.evidence import load_policy  # noqa: PLC0415  (see above)
    from auditlog.evidence.checkpoint_file import read_checkpoints  # noqa: PLC0415  (see above)
    from auditlog.evidence.proof_state import ProofState  # noqa: PLC0415  (see above)
    from auditlog.evidence.service import witnessed  # noqa: PLC0415  (see above)

    policy = load_policy(config.evidence.policy)
    if policy.quorum == "none":
        return None
    state = ProofState(config.state_directory())
    return {
        log: witnessed(read_checkpoints(state.directory(log) / "checkpoints")[0], policy)[0]
        for log in state.logs()
    }
