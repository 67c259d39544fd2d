"""Decide what happens to one segment, foreign file or daily index.  Pure.

The first rule that keeps gives the verdict; ``explain`` lists what all of them said.  A subject
that no rule keeps is compressed or deleted for its age; where one of retention.rules.UNPROVEN still
protects it, it is only compressed.

Invariants (tests of the same name in tests/retention/test_verdict.py):
  monotone     what is deleted at an instant is deleted at every later one, all else being equal
  frugal       a segment that needs no reading gets the same verdict when it was read
  explained    the first finding that keeps, of those that explain a subject, is its verdict

Invariants (tests of the same name in tests/retention/test_age.py):
  aged         a segment is compressed, and deleted, at the ages of its policy

Invariants (tests of the same name in tests/retention/test_rules.py):
  newest       keep_at_least are never deleted
  archived     what is not proven elsewhere yet is compressed and not deleted

Invariants (tests of the same name in tests/retention/test_rules_of_files.py):
  counted      no foreign file is deleted whose policy wants its records counted in a sink first
  removable    what goes for its size is what goes when it is old
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from retention.age import age_of
from retention.rules import CHECKS, UNPROVEN
from retention.subjects import AdoptedFile, Index, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retention.groups import SubjectGroup
    from retention.subjects import Subject

__all__ = [
    "RuleResult",
    "Verb",
    "Verdict",
    "explain",
    "first_keeping",
    "is_removable",
    "judge",
]

Verb = Literal["keep", "compress", "delete"]

_UNCOUNTED: Final = (
    "the lines of a foreign file cannot be counted in a sink; "
    'verify_before_delete = "none" for its pattern trusts the source that ships it'
)


class Verdict(NamedTuple):
    """An action, the reason for it, and the facts behind the reason."""

    action: Verb
    reason: str
    detail: str


class RuleResult(NamedTuple):
    """The result of one rule for one subject.

    ``keeps`` says whether it forbids to touch the subject; ``needs`` that it keeps only until the
    subject was read, or searched for the records of holds.
    """

    rule: str
    keeps: bool
    detail: str
    needs: Literal["", "reading", "search"] = ""


def judge(subject: Subject, newer: int, group: SubjectGroup) -> Verdict:
    """Decide about one subject; ``newer`` is the number of newer ones in its group."""
    found = first_keeping(subject, newer, group)
    if found is not None:
        return Verdict("keep", found.rule, found.detail)
    return _due(subject, newer, group)


def explain(subject: Subject, newer: int, group: SubjectGroup) -> tuple[RuleResult, ...]:
    """List what every rule says about one subject, and last what its age leads to.

    Where several rows have the same reason, the first that keeps is listed, else the last.
    """
    found: dict[str, RuleResult] = {}
    for finding in _findings(subject, newer, group):
        if finding.rule in found and found[finding.rule].keeps:
            continue
        found.pop(finding.rule, None)
        found[finding.rule] = finding
    if any(finding.keeps for finding in found.values()):
        return tuple(found.values())
    due = _due(subject, newer, group)
    detail = due.detail if due.action == "keep" else f"{due.action}: {due.detail}"
    return (*found.values(), RuleResult(due.reason, due.action == "keep", detail))


def is_removable(subject: Subject, newer: int, group: SubjectGroup) -> bool:
    """Whether nothing but its age protects a subject from being deleted."""
    return (
        first_keeping(subject, newer, group, ageless=True) is None
        and _due(subject, newer, group, ageless=True).action == "delete"
    )


def first_keeping(
    subject: Subject, newer: int, group: SubjectGroup, *, ageless: bool = False
) -> RuleResult | None:
    """Return the first finding that keeps; ``ageless`` treats the subject as old enough."""
    # Not by _findings: this runs twice for each of 100,000 segments.
    for reason, check in CHECKS[type(subject)]:
        found = check(subject, newer, group)
        if found is not None and found[0] and not (ageless and reason == "too_recent"):
            return RuleResult(reason, *found)
    return None


def _findings(subject: Subject, newer: int, group: SubjectGroup) -> Iterator[RuleResult]:
    for reason, check in CHECKS[type(subject)]:
        found = check(subject, newer, group)
        if found is not None:
            yield RuleResult(reason, *found)
            if len(found) > 2 and found[2] == "reading":
                return  # the rows below need its content


def _due(subject: Subject, newer: int, group: SubjectGroup, *, ageless: bool = False) -> Verdict:
    """Decide by age about a subject that no rule keeps."""
    detail, age = age_of(subject, group)
    protected = _protected(subject, newer, group)
    if (ageless or age >= group.delete_after) and protected is None:
        return Verdict("delete", "expired" if type(subject) is Index else "age", detail)
    if "" in subject.forms:
        kept = "" if protected is None or age < group.delete_after else f"; {protected.detail}"
        return Verdict("compress", "age", detail + kept)
    # It is compressed and not too recent, so deletion is due, and a rule protects it.
    return protected or Verdict("keep", "too_recent", detail)


def _protected(subject: Subject, newer: int, group: SubjectGroup) -> Verdict | None:
    """Return why a subject may be compressed and not deleted."""
    if newer < group.keep_at_least:
        of = "its log" if group.noun == "segments" else group.name
        return Verdict("keep", "newest", f"it is among the {group.keep_at_least} newest of {of}")
    if group.has_tombstones:
        return Verdict("keep", "proof", "it holds the tombstones of deleted segments")
    if type(subject) is AdoptedFile and group.is_counted:
        return Verdict("keep", "not_in_index", _UNCOUNTED)
    if type(subject) is Segment:
        for reason, check in UNPROVEN.items():
            if lacking := check(subject, group):
                return Verdict("keep", reason, lacking)
    return None
