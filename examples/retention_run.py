"""Plan and run retention from Python:  python retention_run.py DIRECTORY

Shows what a policy of 30 and 90 days would do to a directory of logs, does it, and says what
became of each segment.  No sink is named here, so nothing waits for being shipped; name the sinks
of your configuration where segments must not be deleted before they have been acknowledged.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from retention import Refused, RetentionError, RetentionPolicy, run_retention


def main(directory: Path) -> int:
    policy = RetentionPolicy(
        compress_after=dt.timedelta(days=30), delete_after=dt.timedelta(days=90)
    )
    now = dt.datetime.now(dt.UTC)
    sinks: list[str] = []  # for example ["main"]
    try:
        planned = run_retention(directory, policy, None, sinks, now, dry_run=True)
        for action in planned.plan.actions:
            print(f"{action.action:8} {action.name}  {action.reason}: {action.detail}")
        result = run_retention(directory, policy, None, sinks, now, by="example")
    except Refused as refused:
        print(f"stopped before anything was changed: {refused}", file=sys.stderr)
        return 4
    except RetentionError as error:
        print(error, file=sys.stderr)
        return 1
    print(*(f"{count} {verb}" for verb, count in result.totals.items()), sep=", ")
    for message in result.errors:
        print(message, file=sys.stderr)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
