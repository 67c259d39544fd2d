"""Check whether the witnesses of the trust policy are independent of this host and of each other.

Invariants (tests of the same name in tests/auditctl/doctor/test_witnesses.py):
  alone    a quorum that one witness satisfies is a warning, and so is none
  apart    witnesses that all lie on one host, or in one domain, are a warning
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from auditctl.doctor.check_result import CheckResult
from auditctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.config.model import Config
    from auditlog.evidence.policy import TrustPolicy

__all__ = ["check_witnesses"]

_MEND: Final = (
    "Name three witnesses under different administrators in the trust policy, of which two have to"
    " agree: https://docs.llama-orch.example/prove-a-record.html"
)


def check_witnesses(config: Config) -> Iterator[CheckResult]:
    """Check the witnesses of the policy; no result where no log is signed."""
    path = config.evidence.key or (
        config.state_directory() / "evidence.key" if config.state_dir is not None else None
    )
    if config.evidence.policy is None:
        if path is not None and path.exists():
            detail = "checkpoints are signed, and no witness remembers them: there is no policy"
            yield CheckResult("witnesses", "warn", detail, _MEND)
        return
    # Imported here: only who has a policy needs the libraries of evidence.
    from auditctl.composition.evidence import load_policy  # noqa: PLC0415  (see above)

    try:
        policy = load_policy(config.evidence.policy)
    except ConfigError as error:
        yield CheckResult("witnesses", "fail", str(error), "Mend the trust policy.")
        return
    yield _judge(policy)


def _judge(policy: TrustPolicy) -> CheckResult:
    names = sorted(policy.witnesses)
    if policy.satisfied(frozenset()):
        detail = "the quorum of the trust policy needs no witness"
        return CheckResult("witnesses", "warn", detail, _MEND)
    alone = [name for name in names if policy.satisfied(frozenset({name}))]
    if alone:
        detail = f"the witness {alone[0]} alone is a quorum: it decides, and its loss stops all"
        return CheckResult("witnesses", "warn", detail, _MEND)
    places = {_administration(witness.url) for witness in policy.witnesses.values() if witness.url}
    if len(places) == 1:
        detail = f"all witnesses are in one place, {places.pop()}: one administrator may rule them"
        return CheckResult("witnesses", "warn", detail, _MEND)
    detail = f"{len(names)} witnesses, in {len(places)} places"
    return CheckResult("witnesses", "ok", detail)


def _administration(url: str) -> str:
    """The address, or the domain that a name belongs to, as far as a name can tell."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ".".join(host.rsplit(".", 2)[-2:])
    return "this host" if address.is_loopback else str(address)
