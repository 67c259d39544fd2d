"""A program that writes NDJSON and has its file rotated, and a source that reads it."""

from __future__ import annotations

import datetime as dt
import gzip
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from shippers.backoff import Backoff
from shippers.delivery import DeliveryOptions
from shippers.service import ShippingOptions, ShippingService
from shippers.sources.ndjson.options import NdjsonOptions
from shippers.sources.ndjson.source import NdjsonSource
from tests.support.shipments import FakeSink

__all__ = ["App", "messages", "ndjson_service", "ndjson_source"]


def ndjson_source(directory: Path, pattern: str = "*.log*", **options: Any) -> NdjsonSource:
    fields = {"name": "app", "paths": (f"{directory}/{pattern}",), "host": "hive1", **options}
    return NdjsonSource(NdjsonOptions(**fields))


def ndjson_service(
    directory: Path, sink: FakeSink, state: Path, *, records: int = 7, **options: Any
) -> ShippingService:
    delivery = DeliveryOptions(
        batch_records=records,
        save_interval=dt.timedelta(milliseconds=1),
        backoff=Backoff(dt.timedelta(milliseconds=1), dt.timedelta(milliseconds=5)),
    )
    shipping = ShippingOptions(rescan_interval=dt.timedelta(seconds=0.2), delivery=delivery)
    sources = [ndjson_source(directory, **options)]
    return ShippingService([], [sink], state, shipping, sources=sources)


class App:
    """Writes lines that all differ, and remembers them; ``rotated`` are its older files."""

    def __init__(self, directory: Path, name: str = "app.log") -> None:
        directory.mkdir(exist_ok=True)
        self.path = directory / name
        self.rotated: list[Path] = []
        self.lines: list[bytes] = []
        self._numbers = itertools.count()
        self._rotations = itertools.count(1)

    def write(self, count: int = 1, text: str = "") -> None:
        with self.path.open("ab") as file:
            for _ in range(count):
                line = orjson.dumps({"n": next(self._numbers), "app": self.path.name, "text": text})
                self.lines.append(line)
                file.write(line + b"\n")

    def write_raw(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def rename(self) -> None:
        """logrotate's default, with ``create``."""
        if self.path.exists():
            self.path.rename(self._next())
            self.path.touch()

    def copytruncate(self) -> None:
        if self.path.exists():
            shutil.copyfile(self.path, self._next())
            os.truncate(self.path, 0)

    def compress(self, form: str = ".gz") -> None:
        """The oldest rotated file that is not compressed yet."""
        plain = next((path for path in self.rotated if path.suffix != form), None)
        if plain is not None:
            packed = plain.with_name(plain.name + form)
            packed.write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
            self.rotated[self.rotated.index(plain)] = packed

    def recreate(self, first_line: bytes = b"") -> None:
        """Removed, and begun anew with the same first line as every time."""
        self.path.unlink(missing_ok=True)
        self.write_raw(first_line)

    def _next(self) -> Path:
        target = self.path.with_name(f"{self.path.name}.{next(self._rotations)}")
        self.rotated.append(target)
        return target


def messages(sink: FakeSink) -> Iterator[Any]:
    """The documents without what shipping has added."""
    for document in list(sink.documents.values()):
        value = orjson.loads(document.line)
        yield {key: value[key] for key in value if key not in ("@timestamp", "auditlog")}
