"""The configuration to begin with: what most hosts set, and every other setting as a comment.

Invariants (tests of the same name in tests/auditctl/config/test_template.py):
  usable    it is a valid configuration as it is, and with any one comment taken away
  complete  every setting there is, is named in it
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditctl.config.values import RETENTION, SINK, TOP

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["template"]

_TOP: Final = """\
# The configuration of auditctl and its agent: /etc/auditlog/config.toml, or --config FILE.
# Files in conf.d/ beside it are read after it, in the order of their names; AUDITLOG_ variables
# (AUDITLOG_STATE_DIR, AUDITLOG_RETENTION_DELETE_AFTER) override all of them.
# auditctl config check says whether it can be used, auditctl config show what it comes to.

# Where the services write their logs; retention works on the same ones.
directories = ["/var/log/llama-orch/audit"]

# The agent's own: how far each sink has come, holds, quarantine. With one directory it may be left
# out, and lies below that.
state_dir = "/var/lib/auditlog"

# What this host is called in the log of its deletions; its own name by default.
# host = "hive1"

# Where metrics and health are served; "" serves none.
# metrics = "127.0.0.1:9464"

# How much of the logs is in memory at a time while it is shipped.
# max_in_flight = "8MiB"
"""

_SINKS: Final = """
# Where records are shipped to; several sinks have their own positions. Nothing is deleted that one
# of them has not acknowledged.
[sinks.main]
kind = "elasticsearch"
urls = ["https://es.example:9200"]

# Secrets are in files of their own, or in AUDITLOG_SINKS_MAIN_PASSWORD.
# username = "auditlog_shipper"
# password_file = "/etc/auditlog/es.password"

# A file that needs no server, beside it or instead:
# [sinks.copy]
# kind = "sqlite"
# path = "/var/lib/auditlog/audit.sqlite"
"""

_RETENTION: Final = """
# Old segments are compressed, then deleted, counted from their last record.
[retention]
compress_after = "30d"
delete_after = "90d"
# compression = "zstd"
# level = 19
# keep_at_least = 1
# max_delete_fraction = 0.5
# every = "1d"
"""


def template() -> str:
    """The text of a configuration file, for a person to edit."""
    return "".join(
        (
            _TOP,
            _further(TOP, _TOP, "Further settings"),
            _SINKS,
            _further(SINK, _SINKS, "Further settings of a sink"),
            _RETENTION,
            _further(RETENTION, _RETENTION, "Further settings of retention"),
        )
    )


def _further(names: Iterable[str], text: str, title: str) -> str:
    """What has no line of its own is named all the same, so that nobody has to guess."""
    missing = [name for name in names if re.search(rf"^(# )?{name} = ", text, re.MULTILINE) is None]
    return f"# {title}: {', '.join(missing)}.\n" if missing else ""
