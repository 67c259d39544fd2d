"""The OpenTelemetry Collector from a file to Kafka, built of its modules.

Needs ``go``, to build it into ``.cache/peers``, which takes minutes.  Raises Unavailable.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.peers.contenders import Contender, Task
from benchmarks.peers.packages import CACHE, succeed

__all__ = ["OVER_KAFKA", "VERSION"]

VERSION: Final = "0.165.0"
_BUILDER: Final = f"go.opentelemetry.io/collector/cmd/builder@v{VERSION}"
_CONTRIB: Final = "github.com/open-telemetry/opentelemetry-collector-contrib"
_PROVIDERS: Final = "go.opentelemetry.io/collector/confmap/provider"
_MANIFEST: Final = f"""
dist: {{name: otelcol, output_path: ./made, version: {VERSION}}}
receivers: [{{gomod: {_CONTRIB}/receiver/filelogreceiver v0.165.1}}]
exporters: [{{gomod: {_CONTRIB}/exporter/kafkaexporter v0.165.1}}]
extensions: [{{gomod: {_CONTRIB}/extension/storage/filestorage v0.165.1}}]
providers:
  - {{gomod: {_PROVIDERS}/envprovider v1.71.0}}
  - {{gomod: {_PROVIDERS}/fileprovider v1.71.0}}
"""
_CONFIG: Final = """
extensions:
  file_storage: {{directory: {place}/storage, create_directory: true}}
receivers:
  filelog: {{include: ["{log}/*.ndjson"], start_at: beginning, storage: file_storage}}
exporters:
  kafka:
    brokers: ["{broker}"]
    logs: {{topic: {topic}, encoding: raw}}
    retry_on_failure: {{max_elapsed_time: 0}}
    sending_queue:
      {queue}
      batch: {{sizer: items, min_size: 2000, max_size: 2000, flush_timeout: 200ms}}
service:
  extensions: [file_storage]
  pipelines:
    logs: {{receivers: [filelog], exporters: [kafka]}}
  telemetry: {{metrics: {{level: none}}}}
"""


def collector(task: Task) -> Contender:
    """As its documentation advises against loss: its place and its queue kept on disk."""
    return _collector(task, "storage: file_storage")


def collector_memory_queue(task: Task) -> Contender:
    """With its place kept on disk, and its queue in memory, as it is by default."""
    return _collector(task, "block_on_overflow: true")


def _collector(task: Task, queue: str) -> Contender:
    config = task.place / "otelcol.yaml"
    config.write_text(
        _CONFIG.format(
            place=task.place, log=task.log, broker=task.url, topic=task.prefix, queue=queue
        )
    )
    return Contender((str(_built()), f"--config={config}"))


def _built() -> Path:
    """Build the program, once."""
    program = CACHE / f"otelcol-{VERSION}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            place = Path(name)
            (place / "manifest.yaml").write_text(_MANIFEST)
            succeed(["go", "run", _BUILDER, "--config=manifest.yaml"], place)
            (place / "made" / "otelcol").rename(program)
    return program


OVER_KAFKA: Final[Mapping[str, tuple[str, Callable[[Task], Contender]]]] = {
    "OpenTelemetry Collector": ("filelog and kafka; its place and queue on disk", collector),
    "OpenTelemetry Collector, queue in memory": (
        "as before; its queue in memory, for which the receiver waits when it is full",
        collector_memory_queue,
    ),
}
