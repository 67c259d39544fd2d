"""Check the Python environment for packages that shadow or share names with ours.

django-auditlog also names its package ``auditlog``; whichever was installed later has overwritten
files of the other.
"""

from __future__ import annotations

from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

from auditctl.doctor.check_result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["check_environment"]

_PACKAGES = ("auditlog", "shippers", "retention", "auditctl")
_OURS = "llama-orch-auditlog"


def check_environment(
    owners: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[CheckResult]:
    """Compare the distributions that are installed; ``owners`` maps a package to them."""
    found = packages_distributions() if owners is None else owners
    others = {
        package: sorted({name for name in found.get(package, ()) if name != _OURS})
        for package in _PACKAGES
    }
    for package, names in others.items():
        if names:
            detail = f"the package {package} also belongs to {', '.join(names)}"
            mend = "Install each in an environment of its own; see docs/beside-django-auditlog.md."
            yield CheckResult("environment", "fail", detail, mend)
    if not any(others.values()):
        yield CheckResult("environment", "ok", "no other distribution has a package of our names")
