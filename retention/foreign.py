"""What is to become of a file of an older set-up that the policy adopts.  Pure: no clock, disk.

The rules are asked in this order, and the first that keeps a file gives the reason:

  damaged      it cannot be read to its end, or was not read
  newest       it is the newest of its pattern, which its writer may come back to
  active       a process has it open for writing, or wrote to it within the hour
  too_recent   neither compression nor deletion is due, counted from the newest time in it
  held         a legal hold matches its name and times, or a line may be of its actor
  not_shipped  a source has not brought its last line to a sink; or none ships it, and the
               policy does not say shipped = "not_required"
  newest       deletion is due, but it is among the ``keep_at_least`` newest of its pattern
  not_in_index deletion is due, but ``verify_before_delete`` wants its lines counted in the sinks,
               and what a line became there only its source knows

A plain file that one of the last two keeps is compressed all the same.  ``ageless`` judges as if
every file were old enough, for who needs room (retention.room).

Invariants (tests of the same name in tests/retention/test_foreign.py):
  gated       nothing goes that a source has not brought to every sink, and nothing at all without
              a source unless the policy says so
  counted     nothing is deleted whose policy has it counted in an index first
  kept        what is damaged, held, newest or still written to is neither compressed nor deleted
  monotone    what is deleted at an instant is deleted at every later one, all else being equal
  explained   the first finding that keeps is the verdict
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from retention.policy import format_duration
from retention.rules import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from retention.facts import AdoptedFile
    from retention.holds import Hold

__all__ = ["explain", "holding", "judge", "newer_counts"]

_GROWS: Final = dt.timedelta(hours=1)
_DAY: Final = dt.timedelta(days=1)
_ANY_TIME: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


def newer_counts(files: Sequence[AdoptedFile]) -> list[int]:
    """For each file how many sound ones of its pattern are newer; they come newest last."""
    seen: dict[str, int] = defaultdict(int)
    counts = []
    for file in reversed(files):
        counts.append(seen[file.foreign.pattern])
        seen[file.foreign.pattern] += not file.damage
    return counts[::-1]


def judge(
    file: AdoptedFile,
    newer: int,
    holds: Iterable[Hold],
    now: dt.datetime,
    *,
    ageless: bool = False,
) -> Verdict:
    """The verdict on one file, of whose pattern ``newer`` are newer."""
    for finding in _findings(file, newer, holds, now):
        if finding.keeps and not (ageless and finding.rule == "too_recent"):
            return Verdict("keep", finding.rule, finding.detail)
    return _due(file, newer, now, ageless=ageless)


def explain(
    file: AdoptedFile, newer: int, holds: Iterable[Hold], now: dt.datetime
) -> tuple[Finding, ...]:
    """Every rule that looked at one file, and what it said."""
    found = tuple(_findings(file, newer, holds, now))
    if any(finding.keeps for finding in found):
        return found
    due = _due(file, newer, now)
    if due.action == "keep":
        return (*found, Finding(due.reason, keeps=True, detail=due.detail))
    return (*found, Finding(due.reason, keeps=False, detail=f"{due.action}: {due.detail}"))


def holding(file: AdoptedFile, holds: Iterable[Hold], now: dt.datetime) -> str:
    """Which hold in force keeps the file; "": none."""
    content = file.content
    timed = content is not None and content.first_at is not None and not content.untimed
    first_at = content.first_at if content is not None and timed else None
    for hold in holds:
        if not hold.in_force(now) or not hold.covers(
            file.plain.name, first_at or _ANY_TIME, file.counted_from
        ):
            continue
        if not hold.reads_records:
            return f"hold {hold.id} of {hold.owner}"
        if content is None or hold.id in content.matches:
            return f"hold {hold.id} of {hold.owner} may have a line in it"
    return ""


def _findings(
    file: AdoptedFile, newer: int, holds: Iterable[Hold], now: dt.datetime
) -> Iterator[Finding]:
    yield Finding("damaged", bool(file.damage), file.damage or "it can be read")
    if file.damage:
        return
    pattern = file.foreign.pattern
    last = f"it is the newest of {pattern}" if not newer else f"{newer} of {pattern} are newer"
    yield Finding("newest", not newer, last)
    growing = _growing(file, now)
    yield Finding("active", bool(growing), growing or "nobody is writing to it")
    young = _too_recent(file, now)
    yield Finding("too_recent", young, _age(file, now))
    if file.content is None:
        yield Finding("damaged", keeps=True, detail="it was not read")
        return
    held = holding(file, holds, now)
    yield Finding("held", bool(held), held or "no hold in force covers it")
    yield _shipped(file)


def _growing(file: AdoptedFile, now: dt.datetime) -> str:
    if file.open_for_writing:
        return "a process has it open for writing"
    since = now - file.modified_at
    return f"it was written to {_ago(since)}" if since < _GROWS else ""


def _too_recent(file: AdoptedFile, now: dt.datetime) -> bool:
    policy = file.foreign.policy
    limit = policy.compress_after if "" in file.forms else policy.delete_after
    return now - file.counted_from < limit


def _shipped(file: AdoptedFile) -> Finding:
    for placing in file.placings:
        if placing.lacks:
            detail = f"source {placing.source} to sink {placing.sink}: {placing.lacks}"
            return Finding("not_shipped", keeps=True, detail=detail)
    if file.placings:
        told = ", ".join(f"{placing.source} to {placing.sink}" for placing in file.placings)
        return Finding("not_shipped", keeps=False, detail=f"{told}: shipped to its end")
    if file.foreign.shipped == "not_required":
        return Finding("not_shipped", keeps=False, detail=_UNGATED)
    return Finding(
        "not_shipped",
        keeps=True,
        detail='no source ships it to a sink; shipped = "not_required" would let it go',
    )


_UNGATED: Final = "nothing gates it, no source ships it"


_UNCOUNTED: Final = (
    "the lines of a foreign file cannot be counted in a sink; "
    'verify_before_delete = "none" for its pattern relies on its source'
)


def _due(file: AdoptedFile, newer: int, now: dt.datetime, *, ageless: bool = False) -> Verdict:
    policy = file.foreign.policy
    told = _age(file, now) + ("" if file.placings else f"; {_UNGATED}")
    least = policy.keep_at_least
    protected = None
    if newer < least:
        among = f"it is among the {least} newest of {file.foreign.pattern}"
        protected = Verdict("keep", "newest", among)
    elif policy.verify_before_delete == "index":
        protected = Verdict("keep", "not_in_index", _UNCOUNTED)
    old = ageless or now - file.counted_from >= policy.delete_after
    if old and protected is None:
        return Verdict("delete", "age", told)
    if "" in file.forms:
        return Verdict("compress", "age", told)
    # compressed, and not too recent: deletion is due and something protects it
    return protected or Verdict("keep", "too_recent", told)


def _age(file: AdoptedFile, now: dt.datetime) -> str:
    policy, age = file.foreign.policy, now - file.counted_from
    by_line = file.seen_at if file.content is None else file.content.last_at
    what = "last line" if by_line == file.counted_from else "modified"
    if "" not in file.forms or age >= policy.delete_after:
        return f"{what} {_ago(age)}, deleted after {format_duration(policy.delete_after)}"
    return f"{what} {_ago(age)}, compressed after {format_duration(policy.compress_after)}"


def _ago(age: dt.timedelta) -> str:
    return f"{age.days} d ago" if age >= _DAY else f"{max(0, int(age.total_seconds()))} s ago"
