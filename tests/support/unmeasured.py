"""The environment of a process that coverage shall not measure.

Coverage writes its data when a process ends.  Where files may not grow, or a kill may come at that
moment, it leaves half a file, which the end of the run then warns about.  And measuring costs a
process that only makes load more than its work.
"""

from __future__ import annotations

import os

__all__ = ["unmeasured"]


def unmeasured() -> dict[str, str]:
    """This process's environment without what makes coverage start in a new Python."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}
