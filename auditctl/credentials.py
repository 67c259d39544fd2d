"""Let a command use credentials other than the shipper's.

    --username NAME --password-file FILE | --api-key-file FILE
    AUDITLOG_PASSWORD, AUDITLOG_API_KEY     instead of the files
    --ca-file FILE                          whom to trust, for a cluster that is given by its URL

A secret is never an argument, since every user of the host can read arguments.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from auditctl.errors import ConfigError
from auditctl.options import PATH, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from auditctl.config.sinks import SinkConfig

__all__ = ["as_user", "credential_options"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def credential_options(command: _Command) -> _Command:
    """``username``, ``password_file``, ``api_key_file`` and ``ca_file``, for ``as_user``."""
    for option in (
        click.option(
            "--ca-file",
            type=PATH,
            metavar="FILE",
            help="CA certificate with which to verify the sink.",
        ),
        click.option(
            "--api-key-file",
            type=PATH,
            metavar="FILE",
            help="File with an API key to use instead of a user.",
        ),
        click.option(
            "--password-file", type=PATH, metavar="FILE", help="File with that user's password."
        ),
        click.option(
            "--username",
            type=TEXT,
            metavar="NAME",
            help="User to log in as, instead of the sink's configured one.",
        ),
    ):
        command = option(command)
    return command


def as_user(
    sink: SinkConfig,
    *,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> SinkConfig:
    """The sink with the credentials given, or its own when none are.  Raises ConfigError."""
    if ca_file is not None and sink.kind == "elasticsearch":
        sink = replace(sink, ca_file=ca_file, ca_fingerprint=None)
    secrets: dict[str, str] = {}
    if username is not None and password_file is None and environ.get("AUDITLOG_PASSWORD"):
        secrets["password"] = environ["AUDITLOG_PASSWORD"]
    if username is None and api_key_file is None and environ.get("AUDITLOG_API_KEY"):
        secrets["api_key"] = environ["AUDITLOG_API_KEY"]
    has_key = api_key_file is not None or "api_key" in secrets
    if not has_key and username is None and password_file is None:
        return sink
    if sink.kind == "sqlite":
        raise ConfigError(
            "a SQLite file has no users", hint="Leave out --username and other credentials."
        )
    if has_key and (username is not None or password_file is not None):
        raise ConfigError("a user and an API key were given", hint="Keep one of the two.")
    if not has_key and (username is None or not (password_file or secrets)):
        raise ConfigError(
            "a user and a password come together",
            hint="Give --username with --password-file, or set AUDITLOG_PASSWORD.",
        )
    return replace(
        sink,
        username=username,
        password_file=password_file,
        api_key_file=api_key_file,
        secrets=secrets,
    )
