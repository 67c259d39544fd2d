"""Read files, the environment and flags into one frozen ``Config``.

    directories = ["/var/log/llama-orch/audit"]
    state_dir = "/var/lib/auditlog"
    [sinks.main]
    kind = "elasticsearch"
    urls = ["https://es.example:9200"]
    username = "auditlog_shipper"
    password_file = "/etc/auditlog/es.password"
    [retention]
    compress_after = "30d"
    delete_after = "90d"

Passwords and API keys come from the environment or from a file of their own.

Invariants (tests of the same name in tests/auditctl/config/test_model.py):
  least_config   the lines above are a whole configuration
  unknown_key    an unknown key is an error that names the file and the nearest known key
  secret         no secret is in a repr, in an error or in what `config show` prints
"""

from __future__ import annotations

import datetime as dt
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

from auditctl.config.archive import ARCHIVE, build_archive
from auditctl.config.declared import Named, Setting, declared
from auditctl.config.evidence import EVIDENCE, EvidenceSettings, build_evidence
from auditctl.config.origins import Given, SettingKey, nearest, read_environment, read_files
from auditctl.config.policies import RETENTION, Schedule, build_policy
from auditctl.config.sinks import KINDS, SECRETS, SinkConfig, build_sink
from auditctl.config.sources import SourceConfig, build_sources
from auditctl.config.values import one_of, to_duration, to_paths, to_size, to_text, to_texts
from auditctl.errors import ConfigError
from auditlog.errors import InvalidName
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from retention.policy import RetentionPolicy
from shippers.archive.options import ArchiveOptions
from shippers.sources.ndjson.options import NdjsonOptions

__all__ = ["SINK", "TOP", "Config", "SocketAddress", "load"]

_SINK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """The address that metrics are served on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _to_address(value: Any) -> SocketAddress | None:
    if value == "":
        return None
    host, colon, port = to_text(value).rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError('it has to be like "127.0.0.1:9464", or "" to serve no metrics')
    return SocketAddress(host.strip("[]"), int(port))


def _to_directories(value: Any) -> tuple[Path, ...]:
    paths = to_paths(value)
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError("one directory is named twice")
    return paths


def _to_host(value: Any) -> str:
    return LogId("retention", to_text(value)).host


def _to_hosts(value: Any) -> tuple[str, ...]:
    return tuple(map(_to_host, to_texts(value)))


def _to_heartbeat(value: Any) -> dt.timedelta:
    every = to_duration(value)
    if every and every < dt.timedelta(seconds=1):
        raise ValueError("it has to be 1s or more, or 0s for none")
    return every


def _to_in_flight(value: Any) -> int:
    size = to_size(value)
    if size < 1 << 20:
        raise ValueError("it has to be 1MiB or more")
    return size


@dataclass(frozen=True, slots=True)
class Config:
    """All settings; ``given`` holds the unconverted values with their origins."""

    directories: Annotated[
        tuple[Path, ...],
        _to_directories,
        "directories that services write their logs to; each log lies in one of them only; "
        "optional where only other sources are shipped",
    ] = ()
    state_dir: Annotated[
        Path | None,
        "directory of cursors, holds, quarantine and the time of retention's last success",
        "`STATE_DIRECTORY` from systemd, or `.auditlog` in the directory if only one is configured",
    ] = None
    host: Annotated[
        str,
        _to_host,
        "name of this host: in retention's own log, and in the documents and ids of other "
        "programs' lines",
        "the system's host name",
    ] = field(default_factory=socket.gethostname)
    retention_hosts: Annotated[
        tuple[str, ...],
        _to_hosts,
        "other hosts whose retention deletes from these directories: a deletion on record is "
        "believed from them, from this host and from the host that the log names",
    ] = ()
    metrics: Annotated[
        SocketAddress | None,
        _to_address,
        'address that metrics and health are served on; `""`: none',
    ] = SocketAddress("127.0.0.1", 9464)
    max_in_flight_bytes: Annotated[
        int,
        Named("max_in_flight"),
        _to_in_flight,
        "most bytes that are read and not acknowledged yet, over all logs of a sink",
    ] = 8 << 20
    linger: Annotated[
        dt.timedelta | None,
        "time that a batch may wait for more records; `0s`: it never waits",
        "adaptive: about ten batches a second during a steady stream; a single record does not "
        "wait",
    ] = None
    heartbeat: Annotated[
        dt.timedelta,
        _to_heartbeat,
        "interval at which the agent records in a log of its own, `auditlog-agent@HOST`, that it "
        "is alive; `0s`: never",
    ] = dt.timedelta(minutes=5)
    sinks: tuple[SinkConfig, ...] = ()
    sources: tuple[SourceConfig, ...] = ()
    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    schedule: Schedule = field(default_factory=Schedule)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    archive: ArchiveOptions | None = None
    given: Mapping[SettingKey, Given] = field(default_factory=dict, repr=False)

    def state_directory(self) -> Path:
        """``state_dir``, or the one inside the only directory.  Raises ConfigError."""
        if self.state_dir is not None:
            return self.state_dir
        if len(self.directories) == 1:
            return self.directories[0] / STATE_DIRECTORY
        raise ConfigError(
            f"{len(self.directories)} directories are configured and no state_dir",
            hint='Add state_dir = "/var/lib/auditlog", where cursors and holds are kept.',
        )

    def deleting_hosts(self) -> frozenset[str] | None:
        """The hosts whose deletions are believed; None without a configuration that says so."""
        if ("directories",) not in self.given:
            return None
        return frozenset((self.host, *self.retention_hosts))

    def check_logs(self) -> None:
        """Raise ConfigError when two directories hold the same log, which has one cursor only."""
        seen: dict[LogId, Path] = {}
        for directory in self.directories:
            if not directory.is_dir():
                continue  # it may be mounted or created later; the service looks again
            for log in scan(directory).logs:
                if log in seen:
                    raise ConfigError(
                        f"{log} lies in {seen[log]} and in {directory}",
                        hint="A log has one directory: move its segments, or drop one of the two.",
                    )
                seen[log] = directory

    def retention_instance(self, directory: Path) -> str:
        """The instance that tells the deletions' log of this directory from those of the others.

        It is empty for the first directory; a log id lies in one directory only.
        """
        if directory == self.directories[0]:
            return ""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", str(directory)).strip("-.")
        return f"{slug[-40:].strip('-.')}-{sha256(str(directory).encode()).hexdigest()[:8]}"


TOP: Final = declared(Config)
_KIND: Final = Setting(
    "kind", "kind", one_of(tuple(KINDS)), "`elasticsearch` or `sqlite`", "required", required=True
)
SINK: Final = {"kind": _KIND, **{n: s for _, own in KINDS.values() for n, s in own.items()}}
_SECRET: Final = {name: Setting(name, name, to_text, "a secret") for name in SECRETS}
_SECTIONS: Final = {
    "": TOP,
    "sinks": {**SINK, **_SECRET},
    "retention": RETENTION,
    "evidence": EVIDENCE,
    "archive": ARCHIVE,
}
_DEPTH: Final = {"": 0, "retention": 1, "evidence": 1, "archive": 1, "sinks": 2}


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[SettingKey, Any] | None = None,
) -> Config:
    """Read the configuration.

    ``path`` None is /etc/auditlog/config.toml, or what AUDITLOG_CONFIG names; ``flags`` are values
    from the command line, by key.  Raises ConfigError.
    """
    if path is None and environ.get("AUDITLOG_CONFIG"):
        path = Path(environ["AUDITLOG_CONFIG"])
    given = read_files(path)
    for key, each in given.items():
        if key[0] != "sources":
            _check_key(key, each)
    sinks = {key[1] for key in given if key[0] == "sinks" and len(key) > 1}
    given |= read_environment(environ, _SECTIONS, sinks)
    if ("state_dir",) not in given and environ.get("STATE_DIRECTORY"):  # systemd.exec(5)
        given["state_dir",] = Given(environ["STATE_DIRECTORY"], "systemd STATE_DIRECTORY")
    given |= {key: Given(value, "flag") for key, value in (flags or {}).items()}
    return _build(given)


def _check_key(key: SettingKey, given: Given) -> None:
    """Raise ConfigError for a key that a file cannot have."""
    section = key[0] if key[0] in _SECTIONS else ""
    depth = _DEPTH[section]
    if len(key) <= depth:
        if given.value == {}:  # an empty table has no settings
            return
        raise ConfigError(
            f"{key[0]} has to be a table",
            path=given.origin,
            hint="Write [sinks.main] or [retention], and its settings below.",
        )
    if section == "sinks" and _SINK_NAME.fullmatch(key[1]) is None:
        raise ConfigError(
            f"the sink name {key[1]!r} is not usable",
            path=given.origin,
            hint="Letters, digits, dot, underscore and hyphen are allowed, up to 100.",
        )
    name = key[depth]
    if section == "sinks" and name in SECRETS:
        raise ConfigError(
            f"{'.'.join(key)} would put a secret into the configuration",
            path=given.origin,
            hint=f"Put it into a file of its own and name it with {name}_file.",
        )
    if name not in _SECTIONS[section] or len(key) > depth + 1:
        known = set(_SECTIONS[section]) - set(SECRETS)
        known |= set() if section else {"sources", *_SECTIONS} - {""}
        near = ".".join((*key[:depth], nearest(name, sorted(known))))
        raise ConfigError(
            f"there is no setting {'.'.join(key)}",
            path=given.origin,
            hint=f"The nearest is {near}.",
        )


def _build(given: Mapping[SettingKey, Given]) -> Config:
    tables: dict[SettingKey, dict[str, Any]] = {("retention",): {}, ("evidence",): {}, (): {}}
    for key, each in given.items():
        if key[0] != "sources" and not (each.value == {} and key[0] in _SECTIONS):
            tables.setdefault(key[:-1], {})[key[-1]] = _convert(key, each)
    top = {TOP[name].field: value for name, value in tables[()].items()}
    host = top.setdefault("host", socket.gethostname())
    sources = build_sources({key: e for key, e in given.items() if key[0] == "sources"}, host)
    files = [(each.name, each.paths) for each in sources if isinstance(each, NdjsonOptions)]
    policy, schedule = build_policy(tables["retention",], files)
    sinks = []
    for table in sorted(key for key in tables if key[:1] == ("sinks",)):
        origin = next(each.origin for key, each in given.items() if key[:2] == table)
        place = Path(origin) if origin.startswith("/") else None
        sinks.append(build_sink(table[1], tables[table], place))
    return Config(
        **top,
        sinks=tuple(sinks),
        sources=sources,
        policy=policy,
        schedule=schedule,
        evidence=build_evidence(tables["evidence",]),
        archive=build_archive(tables.get(("archive",), {})),
        given=given,
    )


def _convert(key: SettingKey, given: Given) -> Any:
    setting = _SECTIONS[key[0] if len(key) > 1 else ""][key[-1]]
    try:
        return setting.convert(given.value)
    except (ValueError, InvalidName) as error:
        reason = getattr(error, "reason", str(error))
        hint = getattr(error, "hint", "")
        place = given.origin if given.origin.startswith("/") else None
        source = "" if place else f" ({given.origin})"
        raise ConfigError(f"{'.'.join(key)}{source}: {reason}", path=place, hint=hint) from error
