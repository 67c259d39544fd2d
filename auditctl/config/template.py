"""Write a starter configuration: common settings, and all others as comments.

Invariants (tests of the same name in tests/auditctl/config/test_template.py):
  usable    it is a valid configuration as it is, and with any one comment taken away
  complete  it names every setting, with its default and its meaning
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from auditctl.config.archive import ARCHIVE
from auditctl.config.evidence import EVIDENCE
from auditctl.config.model import SINK, TOP
from auditctl.config.policies import RETENTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditctl.config.declared import Setting

__all__ = ["template"]

_TOP: Final = """\
# The configuration of auditctl and its agent: /etc/auditlog/config.toml, or --config FILE.
# Files in conf.d/ beside it are read after it, in the order of their names; AUDITLOG_ variables
# (AUDITLOG_STATE_DIR, AUDITLOG_RETENTION_DELETE_AFTER) override all of them.
# auditctl config check tests it; auditctl config show prints every value and its origin.

# Directories that the services write their logs to; retention works on the same ones.
directories = ["/var/log/llama-orch/audit"]

# The agent's own state: cursors, holds, quarantine. With one directory it may be left out, and
# lies below that directory.
state_dir = "/var/lib/auditlog"
"""

_SINKS: Final = """
# Where records are shipped to; each sink has its own cursors. Nothing is deleted that one of them
# has not acknowledged.
[sinks.main]
kind = "elasticsearch"
urls = ["https://es.example:9200"]

# Secrets are in files of their own, or in AUDITLOG_SINKS_MAIN_PASSWORD.
# username = "auditlog_shipper"
# password_file = "/etc/auditlog/es.password"
"""

_COPY: Final = """
# A file that needs no server, in addition or instead:
# [sinks.copy]
# kind = "sqlite"
# path = "/var/lib/auditlog/audit.sqlite"
"""

_RETENTION: Final = """
# Old segments are compressed, then deleted; ages count from their last record.
[retention]
compress_after = "30d"
delete_after = "90d"
"""

_EVIDENCE: Final = """
# All logs on disk are verified in the background, again and again; a finding raises an alarm.
[evidence]
verify_every = "1d"
"""

_ARCHIVE: Final = """
# A bucket with S3 Object Lock that keeps every finished segment, beside the sinks:
# [archive]
# bucket = "audit-archive"
"""


def template() -> str:
    """The text of a configuration file, for a person to edit."""
    return "".join(
        (
            _TOP,
            _others(TOP, _TOP),
            _SINKS,
            _others(SINK, _SINKS + _COPY),
            _COPY,
            _RETENTION,
            _others(RETENTION, _RETENTION),
            _EVIDENCE,
            _others(EVIDENCE, _EVIDENCE),
            _ARCHIVE,
            _others(ARCHIVE, _ARCHIVE),
        )
    )


def _others(settings: Mapping[str, Setting], text: str) -> str:
    """A comment for each setting that has no line in the text."""
    missing = [
        setting
        for name, setting in settings.items()
        if re.search(rf"^(# )?{name} = ", text, re.MULTILINE) is None
    ]
    return "\n# Other settings:\n" + "".join(map(_comment, missing))


def _comment(setting: Setting) -> str:
    meaning = re.sub(r"\[(\w+)\]\(\S+\)", r"\1", setting.meaning).replace("`", "")
    if setting.toml:
        return f"# {setting.name} = {setting.toml}  # {meaning}\n"
    default = "" if setting.default == "none" else f" (default: {setting.default})".replace("`", "")
    return f"#   {setting.name}: {meaning}{default}\n"
