"""Check that the retention unit is allowed to connect to its clusters.

Its unit allows it this host alone, since most policies need no more.  Counting records in an
index before they are deleted, and deleting old indices, need the cluster.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from auditctl.doctor.check_result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig

__all__ = ["check_reach"]

_UNIT: Final = Path("etc/systemd/system/auditlog-retention.service")
_DENIED: Final = re.compile(r"^IPAddressDeny=.*\bany\b", re.MULTILINE)
_ALLOWED: Final = re.compile(r"^IPAddressAllow=(.*)$", re.MULTILINE)
_THIS_HOST: Final = frozenset({"localhost", "127.0.0.0/8", "127.0.0.1", "::1", "::1/128"})
_MEND: Final = (
    "systemctl edit auditlog-retention, and below [Service]: IPAddressAllow= with the cluster's"
    " addresses; then systemctl restart auditlog-retention"
)


def check_reach(config: Config, root: Path = Path("/")) -> Iterator[CheckResult]:
    """One finding for each sink that retention has to ask and may not reach."""
    unit = root / _UNIT
    try:
        drop_ins = sorted(unit.with_name(f"{unit.name}.d").glob("*.conf"))
        text = "\n".join(path.read_text("utf-8") for path in (unit, *drop_ins))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        return  # the check of the units reports a file that cannot be read
    if _DENIED.search(text) is None:
        return
    allowed = {word for line in _ALLOWED.findall(text) for word in line.split()}
    if allowed - _THIS_HOST:
        return  # only a connection could show whether it is the cluster's address
    for sink in config.sinks:
        if (asked := _asked(config, sink)) and not _THIS_HOST.issuperset(_hosts(sink)):
            detail = f"{asked} asks the cluster of sink {sink.name}, but {unit.name} may reach "
            yield CheckResult("reach", "warn", f"{detail}this host alone", _MEND)


def _asked(config: Config, sink: SinkConfig) -> str:
    """The setting by which retention asks the sink's cluster; "": none."""
    policies = (config.policy, *(policy for _, policy in config.policy.overrides))
    if sink.kind == "elasticsearch":
        if any(policy.verify_before_delete == "index" for policy in policies):
            return 'verify_before_delete = "index"'
        if sink.index_delete_after is not None:
            return "index_delete_after"
        secret = sink.password_file or sink.api_key_file or sink.username
        if not secret and any(policy.verify_before_delete == "auto" for policy in policies):
            return 'verify_before_delete = "auto"'
    return ""


def _hosts(sink: SinkConfig) -> set[str]:
    urls = sink.urls if sink.kind == "elasticsearch" else ()
    return {urlsplit(url).hostname or "" for url in urls}
