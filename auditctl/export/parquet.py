"""Write records as a Parquet file with typed columns and the original lines.

The columns are those of a CSV, but ``@timestamp`` is an instant in UTC, ``seq`` a number, no text
is changed, and ``record`` holds the line byte for byte, so nothing is lost and each hash can be
computed again.  Values that are no text, such as ``details``, are JSON.

Invariants (tests of the same name in tests/auditctl/export/test_parquet.py):
  round_trip   what a reader of Parquet gets is what the records say
  bounded      no more than one row group is kept in memory
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from auditctl.errors import CommandFailed
from auditctl.export.rows import COLUMNS, value
from auditlog.format.json_text import encoded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from auditlog.format.record import Record

__all__ = ["ParquetFormat"]

_GROUP_RECORDS: Final = 20_000
_GROUP_BYTES: Final = 16 << 20  # of lines


class ParquetFormat:
    """Writes Parquet with pyarrow.  Raises CommandFailed where that is not installed."""

    def __init__(
        self, *, group_records: int = _GROUP_RECORDS, group_bytes: int = _GROUP_BYTES
    ) -> None:
        try:
            import pyarrow  # noqa: PLC0415  (an extra, and it takes a fifth of a second)
            import pyarrow.parquet  # noqa: PLC0415  (as above)
        except ImportError as error:
            raise CommandFailed(
                "Parquet is written by the package pyarrow, which is not installed",
                hint="Run: pip install 'llama-orch-auditlog[parquet]'",
            ) from error
        self._arrow: Any = pyarrow
        self._group_records = group_records
        self._group_bytes = group_bytes
        kinds = {"@timestamp": pyarrow.timestamp("us", tz="UTC"), "seq": pyarrow.int64()}
        text = pyarrow.string()
        self._schema = pyarrow.schema(
            [*((name, kinds.get(name, text)) for name in COLUMNS), ("record", text)]
        )

    def write(self, file: BinaryIO, records: Iterable[Record]) -> int:
        """Write the records; return their number.  Raises LogDamaged for invalid JSON, OSError."""
        count = size = 0
        group: list[dict[str, Any]] = []
        with self._arrow.parquet.ParquetWriter(file, self._schema, compression="zstd") as writer:
            for record in records:
                group.append(_cells(record))
                count += 1
                size += len(record.line)
                if len(group) >= self._group_records or size >= self._group_bytes:
                    self._write_group(writer, group)
                    group, size = [], 0
            if group:
                self._write_group(writer, group)
        return count

    def _write_group(self, writer: Any, group: list[dict[str, Any]]) -> None:
        writer.write_table(self._arrow.Table.from_pylist(group, self._schema), len(group))


def _cells(record: Record) -> dict[str, Any]:
    cells: dict[str, Any] = {name: value(record, name) for name in COLUMNS}
    for name, found in cells.items():
        if found is not None and not isinstance(found, str):
            cells[name] = encoded(found).decode()
    cells["@timestamp"] = dt.datetime.fromisoformat(record.header.timestamp)
    cells["seq"] = record.seq
    cells["record"] = record.line.decode("utf-8")
    return cells
