"""The configuration: what may be set, what it means, and what it is when nobody sets it.

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

Passwords and API keys come from the environment or from a file, never from this file.

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
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from auditctl.config.origins import Key, Setting, nearest, read_environment, read_files
from auditctl.config.sources import SourceConfig, build_sources, is_source
from auditctl.config.values import RETENTION, SINK, TOP, Address, Converter, to_text
from auditctl.errors import ConfigError
from auditlog.errors import InvalidName
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from retention.errors import PolicyError
from retention.policy import ForeignPolicy, Policy

__all__ = ["Config", "Schedule", "SinkConfig", "load", "sink_for_target"]

_SINK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """One place that records are shipped to; ``secrets`` are those given by the environment."""

    name: str
    kind: Literal["elasticsearch", "sqlite"]
    urls: tuple[str, ...] = ()
    username: str | None = None
    password_file: Path | None = None
    api_key_file: Path | None = None
    ca_file: Path | None = None
    ca_fingerprint: str | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    compression: Literal["none", "gzip"] = "none"
    request_timeout: dt.timedelta = dt.timedelta(seconds=30)
    shards: int = 1
    replicas: int = 1
    index_prefix: str | None = None
    index_delete_after: dt.timedelta | None = None
    index_delete_username: str | None = None
    index_delete_password_file: Path | None = None
    index_delete_api_key_file: Path | None = None
    path: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """Where it is, for people: the URLs or the file."""
        return str(self.path) if self.kind == "sqlite" else ", ".join(self.urls)

    def password(self) -> str | None:
        """Raises ConfigError when its file cannot be read."""
        return self._secret("password", self.password_file)

    def api_key(self) -> str | None:
        """Raises ConfigError when its file cannot be read."""
        return self._secret("api_key", self.api_key_file)

    def _secret(self, name: str, path: Path | None) -> str | None:
        if name in self.secrets or path is None:
            return self.secrets.get(name)
        try:
            secret = path.read_text("utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"the {name} of sink {self.name} cannot be read",
                path=path,
                errno=error.errno,
                hint="The file holds the secret alone and belongs to the user we run as.",
            ) from error
        except UnicodeDecodeError:
            secret = ""
        if not secret or "\n" in secret:
            raise ConfigError(
                f"the file has to hold the {name} of sink {self.name}, alone on its one line",
                path=path,
            )
        return secret


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the agent runs retention: so long after its last success."""

    every: dt.timedelta = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the commands need to know; ``settings`` are the values as given, with origins."""

    directories: tuple[Path, ...] = ()
    state_dir: Path | None = None
    host: str = field(default_factory=socket.gethostname)
    metrics: Address | None = field(default_factory=lambda: Address("127.0.0.1", 9464))
    max_in_flight_bytes: int = 8 << 20
    linger: dt.timedelta = dt.timedelta(0)
    sinks: tuple[SinkConfig, ...] = ()
    sources: tuple[SourceConfig, ...] = ()
    policy: Policy = field(default_factory=Policy)
    schedule: Schedule = field(default_factory=Schedule)
    settings: Mapping[Key, Setting] = field(default_factory=dict, repr=False)

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

    def check_logs(self) -> None:
        """Raise ConfigError when two directories hold the same log, which has one cursor only."""
        seen: dict[LogId, Path] = {}
        for directory in self.directories:
            if not directory.is_dir():
                continue  # it may be mounted or made later; the service looks again
            for log in scan(directory).logs:
                if log in seen:
                    raise ConfigError(
                        f"{log} lies in {seen[log]} and in {directory}",
                        hint="A log has one directory: move its segments, or drop one of the two.",
                    )
                seen[log] = directory

    def retention_instance(self, directory: Path) -> str:
        """What tells the deletions' log of this directory from those of the others.

        The first directory's has none; a log id lies in one directory only.
        """
        if directory == self.directories[0]:
            return ""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", str(directory)).strip("-.")
        return f"{slug[-40:].strip('-.')}-{sha256(str(directory).encode()).hexdigest()[:8]}"


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[Key, Any] | None = None,
) -> Config:
    """Read the configuration.

    ``path`` None is /etc/auditlog/config.toml, or what AUDITLOG_CONFIG names; ``flags`` are values
    from the command line, by key.  Raises ConfigError.
    """
    if path is None and environ.get("AUDITLOG_CONFIG"):
        path = Path(environ["AUDITLOG_CONFIG"])
    settings = read_files(path)
    for key, setting in settings.items():
        if not is_source(key):
            _check_key(key, setting)
    known = {section: set(fields) for section, fields in _SECTIONS.items()}
    known["sinks"] |= set(_SECRETS)
    sinks = {key[1] for key in settings if key[0] == "sinks"}
    settings |= read_environment(environ, known, sinks)
    if ("state_dir",) not in settings and environ.get("STATE_DIRECTORY"):  # systemd.exec(5)
        settings["state_dir",] = Setting(environ["STATE_DIRECTORY"], "systemd STATE_DIRECTORY")
    settings |= {key: Setting(value, "flag") for key, value in (flags or {}).items()}
    return _build(settings)


def sink_for_target(target: str) -> SinkConfig:
    """The sink that ``--to`` names: a URL, or a file for SQLite.  Raises ConfigError.

    Its name comes from the target, so that each target has its own cursors: what one of them has
    acknowledged says nothing about another.
    """
    if "://" in target:
        if not re.match(r"https?://", target):
            raise ConfigError(
                f"{target.partition('://')[0]}:// is no kind of sink",
                hint="Give an Elasticsearch as http://… or https://…, SQLite as a file name.",
            )
        try:
            urls = SINK["urls"]([target])
        except ValueError as error:
            raise ConfigError(f"--to: {error}") from error
        return SinkConfig(_target_name("elasticsearch", urls[0]), "elasticsearch", urls=urls)
    path = Path(target).expanduser().absolute()
    return SinkConfig(_target_name("sqlite", str(path)), "sqlite", path=path)


def _target_name(kind: str, target: str) -> str:
    tail = target.partition("://")[2] or Path(target).name
    slug = re.sub(r"[^A-Za-z0-9]+", "-", tail).strip("-")
    return f"{kind}-{slug[:60]}-{sha256(target.encode()).hexdigest()[:8]}"


_SECTIONS: Final = {"": TOP, "sinks": SINK, "retention": RETENTION}
_SECRETS: Final = ("password", "api_key")


def _check_key(key: Key, setting: Setting) -> None:
    """Raise ConfigError for a key that a file cannot have."""
    section = key[0] if key[0] in ("sinks", "retention") else ""
    place = {"": 0, "retention": 1, "sinks": 2}[section]
    if len(key) <= place:
        if not setting.value and setting.value == {}:  # an empty table sets nothing
            return
        raise ConfigError(
            f"{key[0]} has to be a table",
            path=setting.origin,
            hint="Write [sinks.main] or [retention], and its settings below.",
        )
    if section == "sinks" and _SINK_NAME.fullmatch(key[1]) is None:
        raise ConfigError(
            f"the sink name {key[1]!r} is not usable",
            path=setting.origin,
            hint="Letters, digits, dot, underscore and hyphen are allowed, up to 100.",
        )
    name = key[place]
    fields = _SECTIONS[section]
    if section == "sinks" and name in _SECRETS:
        raise ConfigError(
            f"{'.'.join(key)} would put a secret into the configuration",
            path=setting.origin,
            hint=f"Put it into a file of its own and name it with {name}_file.",
        )
    if name not in fields or len(key) > place + 1:
        known = [*fields, *("sinks", "sources", "retention")] if not section else [*fields]
        near = ".".join((*key[:place], nearest(name, known)))
        raise ConfigError(
            f"there is no setting {'.'.join(key)}",
            path=setting.origin,
            hint=f"The nearest is {near}.",
        )


def _build(settings: Mapping[Key, Setting]) -> Config:
    values: dict[Key, Any] = {
        key: _convert(key, setting)
        for key, setting in settings.items()
        if not is_source(key) and (setting.value != {} or key[0] not in ("sinks", "retention"))
    }
    top = {key[0]: value for key, value in values.items() if len(key) == 1}
    if "max_in_flight" in top:
        top["max_in_flight_bytes"] = top.pop("max_in_flight")
    retention = {key[1]: value for key, value in values.items() if key[0] == "retention"}
    schedule = Schedule(retention.pop("every")) if "every" in retention else Schedule()
    logs, foreign = retention.pop("logs", ()), retention.pop("foreign", ())
    sources = build_sources(settings)
    try:
        policy = Policy(**retention)
        overrides = tuple(_override(policy, table) for table in logs)
        adopted = tuple(_foreign(policy, table, sources) for table in foreign)
        policy = replace(policy, overrides=overrides, foreign=adopted)
    except PolicyError as error:
        raise ConfigError(f"retention: {error.reason}", hint=error.hint) from error
    names = sorted({key[1] for key in values if key[0] == "sinks"})
    return Config(
        **top,
        sinks=tuple(_build_sink(name, values, settings) for name in names),
        sources=sources,
        policy=policy,
        schedule=schedule,
        settings=settings,
    )


def _override(policy: Policy, table: Mapping[str, Any]) -> tuple[str, Policy]:
    """A policy for the logs that match; what it does not set is as in [retention]."""
    own = {name: value for name, value in table.items() if name != "match"}
    if own.get("compression", policy.compression) != policy.compression:
        own = {"level": None, "long_window_bytes": None, **own}
    return table["match"], replace(policy, **{"max_total_bytes": None, **own})


def _foreign(
    policy: Policy, table: Mapping[str, Any], sources: tuple[SourceConfig, ...]
) -> ForeignPolicy:
    """A policy for files that are no segments; what it does not set is as in [retention].

    They become .gz by default, which is what is there already and what people's tools read.
    """
    of_files = {"shipped", "timestamp_fields"}
    own = {name: value for name, value in table.items() if name not in {"pattern", *of_files}}
    inherited: dict[str, Any] = {"max_total_bytes": None, "compression": "gzip"}
    inherited |= {"level": None, "long_window_bytes": None}
    shipped_by = tuple((each.name, each.paths) for each in sources if each.paths is not None)
    return ForeignPolicy(
        table["pattern"],
        replace(policy, **{**inherited, **own}),
        sources=shipped_by,
        **{name: value for name, value in table.items() if name in of_files},
    )


def _convert(key: Key, setting: Setting) -> Any:
    section = key[0] if len(key) > 1 else ""
    if key[-1] in _SECRETS:
        converter: Converter = to_text
    else:
        converter = _SECTIONS[section][key[-1]]
    try:
        return converter(setting.value)
    except (ValueError, InvalidName) as error:
        reason = getattr(error, "reason", str(error))
        hint = getattr(error, "hint", "")
        place = setting.origin if setting.origin.startswith("/") else None
        source = "" if place else f" ({setting.origin})"
        raise ConfigError(f"{'.'.join(key)}{source}: {reason}", path=place, hint=hint) from error


def _build_sink(
    name: str, values: Mapping[Key, Any], settings: Mapping[Key, Setting]
) -> SinkConfig:
    fields = {key[2]: value for key, value in values.items() if key[:2] == ("sinks", name)}
    origin = next(setting.origin for key, setting in settings.items() if key[:2] == ("sinks", name))
    place = origin if origin.startswith("/") else None

    def wrong(reason: str, hint: str) -> ConfigError:
        return ConfigError(f"sinks.{name}: {reason}", path=place, hint=hint)

    kind = fields.get("kind")
    if kind is None:
        raise wrong("kind is missing", 'Add kind = "elasticsearch" or kind = "sqlite".')
    own = {"path"} if kind == "sqlite" else {*SINK, *_SECRETS} - {"path", "kind"}
    if strange := sorted(fields.keys() - own - {"kind"}):
        raise wrong(f"{', '.join(strange)} is not for kind {kind}", "Remove it, or mend kind.")
    needed = "path" if kind == "sqlite" else "urls"
    if needed not in fields:
        raise wrong(f"{needed} is missing", f"A sink of kind {kind} needs it.")
    secrets: dict[str, str] = {
        secret: fields.pop(secret) for secret in _SECRETS if secret in fields
    }
    sink = SinkConfig(name, **fields)
    has_password = "password" in secrets or sink.password_file is not None
    has_key = "api_key" in secrets or sink.api_key_file is not None
    if has_password != (sink.username is not None):
        raise wrong(
            "username and password_file come together",
            "Give both, or api_key_file, or neither.",
        )
    if has_password and has_key:
        raise wrong("it has a password and an API key", "Keep one of the two.")
    if sink.ca_file is not None and sink.ca_fingerprint is not None:
        raise wrong("it has a ca_file and a ca_fingerprint", "Keep one of the two.")
    if sink.client_key_file is not None and sink.client_cert_file is None:
        raise wrong("client_cert_file is missing", "Name the certificate of client_key_file.")
    if problem := _index_user(sink, has_own=has_password or has_key):
        raise wrong(*problem)
    return replace(sink, secrets=secrets)


def _index_user(sink: SinkConfig, *, has_own: bool) -> tuple[str, str] | None:
    """What is wrong with the credentials that delete indices, and what to do."""
    named, has_password = sink.index_delete_username, sink.index_delete_password_file is not None
    has_key = sink.index_delete_api_key_file is not None
    if sink.index_delete_after is None:
        if named or has_password or has_key:
            return "index_delete_after is missing", "Say after how long indices are deleted."
        return None
    if has_password != (named is not None) or (has_password and has_key):
        return (
            "index_delete_username and index_delete_password_file come together",
            "Give both, or index_delete_api_key_file.",
        )
    if has_own and not (has_password or has_key):
        return (
            "index_delete_after needs a user of its own: who ships must not be able to delete",
            "Add index_delete_username and index_delete_password_file.",
        )
    return None
