"""Ship as a typical script does: read lines, helpers.parallel_bulk, note each chunk's offset.

``python -m benchmarks.peers.bulk_script LOG URL INDEX OFFSET_FILE`` goes on where it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from elasticsearch import Elasticsearch, helpers

CHUNK = 2_000


def main(log: str, url: str, index: str, offset_file: str) -> None:
    (segment,) = Path(log).glob("*.ndjson")
    note = Path(offset_file)
    offset = int(note.read_text()) if note.exists() else 0
    ends: list[int] = []

    def actions() -> Iterator[dict[str, Any]]:
        position = offset
        with segment.open("rb") as file:
            file.seek(offset)
            for line in file:
                position += len(line)
                ends.append(position)
                yield {"_op_type": "index", "_index": index, "_source": orjson.loads(line)}

    client = Elasticsearch(url)
    results = helpers.parallel_bulk(client, actions(), thread_count=2, chunk_size=CHUNK)
    for done, _ in enumerate(results, 1):
        if done % CHUNK == 0:
            _keep(note, ends[done - 1])
    if ends:
        _keep(note, ends[-1])
    while True:
        time.sleep(60)


def _keep(note: Path, offset: int) -> None:
    """Replace the offset in one step: a kill may come between truncating and writing."""
    new = note.with_suffix(".new")
    new.write_text(str(offset))
    new.replace(note)


if __name__ == "__main__":
    main(*sys.argv[1:])
