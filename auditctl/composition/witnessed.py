"""Find the last witnessed record of each log, in the agent's state or at the witnesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditctl.config.model import Config

__all__ = ["seqs_of_witnesses", "witnessed_seqs"]


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


def seqs_of_witnesses(policy_path: Path) -> tuple[Mapping[str, int], list[str]]:
    """Ask a policy's witnesses for the last record of each log that a quorum cosigned.

    A log whose newest tree no quorum cosigned has 0.  Also returns a line for each witness that did
    not answer.  Raises ConfigError.
    """
    from auditctl.composition.evidence import load_policy  # noqa: PLC0415  (as above)
    from auditlog.evidence.checkpoint import log_of_origin  # noqa: PLC0415  (as above)
    from auditlog.evidence.collection import from_witnesses  # noqa: PLC0415  (as above)
    from auditlog.evidence.errors import BadEvidence  # noqa: PLC0415  (as above)

    policy = load_policy(policy_path)
    origins = {
        log: origin
        for (log, _), origin in sorted((log_of_origin(origin), origin) for origin in policy.logs)
        if log
    }  # the newest tree of each
    found, silent = from_witnesses(policy)
    seen: dict[tuple[str, int, bytes], frozenset[str]] = {}
    for candidate in found:
        try:
            trusted = policy.trust(candidate.note)
        except BadEvidence as error:
            silent.append(f"{candidate.source}: {error.reason}")
            continue
        checkpoint = trusted.checkpoint
        # Each witness has its own cosignature alone; together they can be a quorum.
        key = (checkpoint.origin, checkpoint.size, checkpoint.root)
        seen[key] = seen.get(key, frozenset()) | frozenset(trusted.seen)
    through = {
        origin: max(
            (
                size
                for (of, size, _), names in seen.items()
                if of == origin and names and policy.satisfied(names)
            ),
            default=0,
        )
        for origin in origins.values()
    }
    return {log: through[origin] for log, origin in origins.items()}, silent
