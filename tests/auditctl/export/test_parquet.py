from __future__ import annotations

import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.export.parquet import ParquetFormat
from auditctl.export.rows import COLUMNS
from auditlog.format.record import decode
from auditlog.query.predicate import values_at
from tests.support.logs import make_line
from tests.support.questions import bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditlog.format.record import Record


def written(records: list[Record], **groups: int) -> Any:
    file = io.BytesIO()
    assert ParquetFormat(**groups).write(file, records) == len(records)
    return pyarrow.parquet.ParquetFile(io.BytesIO(file.getvalue()))


@given(drawn=st.lists(bodies, max_size=7), group_records=st.integers(1, 4))
def test_round_trip(drawn: list[dict[str, Any]], group_records: int) -> None:
    records = [
        decode(make_line("queen-rbee@hive1", seq, **body)[0]) for seq, body in enumerate(drawn, 1)
    ]
    file = written(records, group_records=group_records)
    rows = file.read().to_pylist()
    assert [row["record"].encode() for row in rows] == [record.line for record in records]
    for row, record in zip(rows, records, strict=True):
        assert [*row] == [*COLUMNS, "record"]
        assert row["seq"] == record.seq
        assert row["@timestamp"] == dt.datetime.fromisoformat(record.header.timestamp)
        assert row["@timestamp"].utcoffset() == dt.timedelta(0)
        for name in set(COLUMNS) - {"seq", "@timestamp", "log"}:
            found = next(values_at(record.fields, name), None)
            as_text = found is None or isinstance(found, str)
            assert (row[name] if as_text else orjson.loads(row[name])) == found
        assert row["log"] == record.log
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    assert sum(sizes) == len(records)
    assert all(size == group_records for size in sizes[:-1])


@pytest.mark.parametrize("groups", [{"group_records": 10}, {"group_bytes": 3000}])
def test_bounded(groups: dict[str, int]) -> None:
    """Each group is in the file before the next one's second record is taken."""
    file = io.BytesIO()
    sizes: list[int] = []

    def records() -> Iterator[Record]:
        for seq in range(1, 101):
            sizes.append(file.tell())
            yield decode(make_line("queen-rbee@hive1", seq)[0])

    ParquetFormat(**groups).write(file, records())
    assert len(set(sizes)) == pyarrow.parquet.ParquetFile(file).num_row_groups >= 10
    assert all(sizes.count(size) <= 10 for size in sizes)
