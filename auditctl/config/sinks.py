"""Parse sink settings from ``[sinks.NAME]`` tables, or the target of ``--to``.

Invariants (tests of the same name in tests/auditctl/config/test_model.py):
  secret   no secret is in a repr, in an error or in what `config show` prints
"""

from __future__ import annotations

import datetime as dt
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from auditctl.config.declared import Setting, declared
from auditctl.config.values import to_duration
from auditctl.errors import ConfigError
from shippers.sinks.elasticsearch.options import ElasticsearchOptions

__all__ = [
    "KINDS",
    "SECRETS",
    "ElasticsearchConfig",
    "SinkConfig",
    "SqliteConfig",
    "build_sink",
    "sink_for_target",
]

SECRETS: Final = ("password", "api_key")
"""Settings that only the environment may give."""


def _index_age(value: Any) -> dt.timedelta:
    duration = to_duration(value)
    if duration < dt.timedelta(days=1):
        raise ValueError("it has to be 1d or more, since an index holds a day")
    return duration


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """A SQLite file that records are shipped to."""

    kind: Literal["sqlite"] = field(default="sqlite", init=False)

    name: str
    path: Annotated[Path, "the SQLite file"]

    @property
    def address(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticsearchConfig(ElasticsearchOptions):
    """A cluster that records are shipped to, and the users to log in as.

    ``secrets`` are those that the environment gave.
    """

    kind: Literal["elasticsearch"] = field(default="elasticsearch", init=False)

    name: str
    username: Annotated[str | None, "user who ships; with `password_file`"] = None
    password_file: Annotated[Path | None, "file that holds the user's password"] = None
    api_key_file: Annotated[Path | None, "file that holds an API key, instead of a user"] = None
    index_delete_after: Annotated[
        dt.timedelta | None,
        _index_age,
        "age, from the end of its day, at which an index is [deleted](retention.md); 1d or more",
        "never",
    ] = None
    index_delete_username: Annotated[
        str | None, "user who deletes indices: another one than the user who ships"
    ] = None
    index_delete_password_file: Annotated[Path | None, "file that holds that user's password"] = (
        None
    )
    index_delete_api_key_file: Annotated[
        Path | None, "file that holds an API key, instead of that user"
    ] = None
    allow_plain_http: Annotated[
        bool, "`true` silences the warning about credentials over plain http"
    ] = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def password(self) -> str | None:
        """Raises ConfigError when its file cannot be read."""
        return self._secret("password", self.password_file)

    def api_key(self) -> str | None:
        """Raises ConfigError when its file cannot be read."""
        return self._secret("api_key", self.api_key_file)

    def warnings(self) -> Iterator[str]:
        """List ways in which the credentials may leak, one sentence each."""
        files = (
            self.password_file,
            self.api_key_file,
            self.client_key_file,
            self.index_delete_password_file,
            self.index_delete_api_key_file,
        )
        for path in filter(None, files):
            with suppress(OSError):  # reported where the file is read
                if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                    yield f"{path}: every user can read or write this secret; chmod o-rwx {path}"
        if self.allow_plain_http or not (self.username or self.api_key_file or self.secrets):
            return
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
                yield (
                    f"sinks.{self.name}: the credentials are sent to {parts.hostname} over plain "
                    "http; use https, or set allow_plain_http = true"
                )

    def _secret(self, name: str, path: Path | None) -> str | None:
        if name in self.secrets or path is None:
            return self.secrets.get(name)
        try:
            secret = path.read_text("utf-8-sig").strip()  # some editors write a BOM
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


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


SinkConfig = ElasticsearchConfig | SqliteConfig

KINDS: Final[Mapping[str, tuple[type[SinkConfig], Mapping[str, Setting]]]] = {
    "elasticsearch": (ElasticsearchConfig, declared(ElasticsearchConfig)),
    "sqlite": (SqliteConfig, declared(SqliteConfig)),
}


def build_sink(name: str, values: dict[str, Any], origin: Path | None) -> SinkConfig:
    """The sink that a table sets up.  Raises ConfigError, naming ``origin``."""

    def wrong(reason: str, hint: str = "") -> ConfigError:
        return ConfigError(f"sinks.{name}: {reason}", path=origin, hint=hint)

    kind = values.pop("kind", None)
    if kind is None:
        raise wrong("kind is missing", 'Add kind = "elasticsearch" or kind = "sqlite".')
    made, settings = KINDS[kind]
    secrets: dict[str, str] = {secret: values.pop(secret) for secret in SECRETS if secret in values}
    strange = values.keys() - settings.keys()
    if kind == "sqlite":
        strange |= secrets.keys()
    if strange:
        unfit = ", ".join(sorted(strange))
        raise wrong(f"{unfit} is not for kind {kind}", "Remove it, or correct kind.")
    for setting in settings.values():
        if setting.required and setting.name not in values:
            raise wrong(f"{setting.name} is missing", f"A sink of kind {kind} needs it.")
    try:
        sink = made(name=name, **values)
    except ValueError as error:
        raise wrong(str(error)) from error
    if isinstance(sink, ElasticsearchConfig):
        sink = replace(sink, secrets=secrets)
        if problem := _credentials(sink) or _index_credentials(sink):
            raise wrong(*problem)
    return sink


def _credentials(sink: ElasticsearchConfig) -> tuple[str, str] | None:
    """The problem with the shipper's credentials, and what to do."""
    has_password = "password" in sink.secrets or sink.password_file is not None
    if has_password != (sink.username is not None):
        return (
            "username and password_file come together",
            "Give both, or api_key_file, or neither.",
        )
    if has_password and ("api_key" in sink.secrets or sink.api_key_file is not None):
        return "it has a password and an API key", "Keep one of the two."
    return None


def _index_credentials(sink: ElasticsearchConfig) -> tuple[str, str] | None:
    """The problem with the credentials that delete indices, and what to do."""
    named, has_password = sink.index_delete_username, sink.index_delete_password_file is not None
    has_key = sink.index_delete_api_key_file is not None
    if sink.index_delete_after is None:
        if named or has_password or has_key:
            return "index_delete_after is missing", "Set the age at which indices are deleted."
        return None
    if has_password != (named is not None) or (has_password and has_key):
        return (
            "index_delete_username and index_delete_password_file come together",
            "Give both, or index_delete_api_key_file.",
        )
    ships_as = sink.username or sink.api_key_file or sink.secrets
    if ships_as and not (has_password or has_key):
        return (
            "index_delete_after needs a user of its own: who ships must not be able to delete",
            "Add index_delete_username and index_delete_password_file.",
        )
    return None


def sink_for_target(target: str) -> SinkConfig:
    """The sink that ``--to`` names: a URL, or a file for SQLite.  Raises ConfigError.

    Its name is made from the target, so that each target has its own cursors: what one of them has
    acknowledged says nothing about another.
    """
    if "://" not in target:
        path = Path(target).expanduser().absolute()
        return SqliteConfig(_target_name("sqlite", str(path)), path)
    if not re.match(r"https?://", target):
        raise ConfigError(
            f"{target.partition('://')[0]}:// is not supported",
            hint="Give an Elasticsearch as http://… or https://…, SQLite as a file name.",
        )
    name = _target_name("elasticsearch", target.rstrip("/"))
    try:
        return ElasticsearchConfig(name=name, urls=(target,))
    except ValueError as error:
        raise ConfigError(f"--to: {error}") from error


def _target_name(kind: str, target: str) -> str:
    tail = target.partition("://")[2] or Path(target).name
    slug = re.sub(r"[^A-Za-z0-9]+", "-", tail).strip("-")
    return f"{kind}-{slug[:60]}-{sha256(target.encode()).hexdigest()[:8]}"
