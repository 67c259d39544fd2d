"""Measure what an archive costs and how fast it is read back, beside zstd and plain boto3.

The bucket is a real one with Object Lock (SeaweedFS) on the same machine, whose own CPU time is not
counted.  The records are those of one day and one host, in segments of 32 MiB.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Final

import orjson

import auditlog
from auditctl.demo.object_store import ObjectStoreProcess
from auditctl.main import main as auditctl
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import bounds
from benchmarks.agent_process import peak_megabytes
from benchmarks.harness import Case, Ratio
from benchmarks.workload import chosen, emit_events
from shippers.archive.service import ArchiveService
from tests.support.s3 import S3Bucket, S3Proxy, S3Server

TITLE = "Archive: finished segments into a bucket with Object Lock, and back"
UNIT = "as told"
RECORDS: Final = 200_000
RARE: Final = "task-77777-of-the-incident"
SEGMENT_BYTES: Final = 32 << 20
_HOST: Final = "hive1"
_SERVICE: Final = "queen-rbee"


@contextmanager
def setting() -> Iterator[Mapping[str, str]]:
    """A server, a log with finished segments, and a bucket that has them."""
    with tempfile.TemporaryDirectory() as place, ObjectStoreProcess(Path(place, "s3")) as server:
        yield prepare(Path(place), server.url, chosen())


def prepare(place: Path, url: str, workload: str) -> Mapping[str, str]:
    """Write a log, archive it, and return what the cases get to know of both."""
    log, config = place / "log", place / "config.toml"
    with auditlog.open(
        log, service=_SERVICE, host=_HOST, flush="batched", max_segment_bytes=SEGMENT_BYTES
    ) as opened:
        opened.emit("incident.found", details={"task": RARE})
        emit_events(opened, RECORDS, workload)
    bucket = S3Server(url).make_bucket()
    config.write_text(f'host = "{_HOST}"\n{bucket.settings(place, "reader")}')
    _archive(log, bucket)
    return {
        "BENCHMARK_LOG": str(log),
        "BENCHMARK_URL": url,
        "BENCHMARK_BUCKET": bucket.name,
        "BENCHMARK_CONFIG": str(config),
    }


def _segments(log: Path) -> tuple[SegmentFile, ...]:
    [segments] = scan(log).logs.values()
    return segments


def _finished() -> list[Path]:
    """The segments that are archived: all but the newest."""
    return [segment.path for segment in _segments(_log())[:-1]]


def _records() -> int:
    """How many records these have."""
    newest = bounds(_segments(_log())[-1])
    if newest is None or newest.first_seq == 1:
        raise RuntimeError("no segment is finished")
    return newest.first_seq - 1


def _log() -> Path:
    return Path(os.environ["BENCHMARK_LOG"])


def _server() -> S3Server:
    return S3Server(os.environ["BENCHMARK_URL"])


def _bucket() -> S3Bucket:
    """The bucket that has the log."""
    return S3Bucket(_server(), os.environ["BENCHMARK_BUCKET"])


def _archive(source: Path, bucket: S3Bucket, measure: Callable[[], float] = float) -> float:
    """Archive a log from a directory of its own, as the agent does; return what was measured."""
    with tempfile.TemporaryDirectory(dir=source.parent) as place:
        directory = Path(place, "log")
        directory.mkdir(mode=0o700)
        for segment in source.glob("*.ndjson"):
            (directory / segment.name).hardlink_to(segment)
        opened, options = bucket.opened("writer"), bucket.options()
        service = ArchiveService([directory], Path(place, "state"), opened, options, host=_HOST)
        before = measure()
        status = service.run_once()
        taken = measure() - before
    if status.trouble or status.waiting or status.objects != len(_segments(source)) - 1:
        raise RuntimeError(f"not everything was archived: {status}")
    return taken


def _cpu_seconds() -> float:
    """CPU time of this process and of those that it waited for."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


# Upload -------------------------------------------------------------------------------------------


def _upload() -> float:
    return _archive(_log(), _server().make_bucket(), _cpu_seconds) / _records() * 1e6


def _bytes() -> float:
    """Bytes of all objects, the manifest included."""
    with closing(_bucket().opened()) as opened:
        return sum(each.size_bytes for each in opened.versions("")) / _records()


def _requests() -> float:
    with S3Proxy(_server(), lambda *_: None) as proxy:
        bucket = proxy.server.make_bucket()
        begun = len(proxy.seen)
        _archive(_log(), bucket)
        made = [path for _, path, _ in proxy.seen[begun:] if "/manifests/" not in path]
    return len(made) / len(_finished())


def _packed(place: str) -> list[Path]:
    packed = [Path(place, f"{segment.name}.zst") for segment in _finished()]
    for segment, path in zip(_finished(), packed, strict=True):
        subprocess.run(["zstd", "-q", "-3", segment, "-o", path], check=True)
    return packed


def _zstd(figure: Callable[[list[Path], float], float]) -> float:
    with tempfile.TemporaryDirectory() as place:
        before = _cpu_seconds()
        packed = _packed(place)
        return figure(packed, _cpu_seconds() - before) / _records()


def _zstd_and_put() -> float:
    bucket = _server().make_bucket()
    with closing(bucket.client()) as client, tempfile.TemporaryDirectory() as place:
        before = _cpu_seconds()
        for path in _packed(place):
            with path.open("rb") as body:
                client.put_object(Bucket=bucket.name, Key=path.name, Body=body)
        return (_cpu_seconds() - before) / _records() * 1e6


# Back ---------------------------------------------------------------------------------------------

_GET: Final = """
import os, subprocess, sys
from auditctl.demo.object_store import client_of
url, bucket, prefix, place, then = sys.argv[1:]
client = client_of(url, "reader")
for each in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
    path = os.path.join(place, os.path.basename(each["Key"]))
    if then == "files":
        client.download_file(bucket, each["Key"], path)
        subprocess.run(["zstd", "-q", "-d", "--rm", path], check=True)
    else:
        body = client.get_object(Bucket=bucket, Key=each["Key"])["Body"]
        with subprocess.Popen(f"zstd -q -dc | {then}", shell=True, stdin=subprocess.PIPE) as pipe:
            for piece in body.iter_chunks(1 << 18):
                pipe.stdin.write(piece)
            pipe.stdin.close()
"""
"""Downloads every object below a prefix, and decompresses it into a file or a pipe."""


def _speed(command: list[str], works: Callable[[bytes], bool]) -> float:
    """Records a second, with the start of the process."""
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    if not works(done.stdout):
        raise RuntimeError(f"{command} did something else")
    return _records() / seconds


def _by_boto3(then: str, works: Callable[[bytes], bool]) -> float:
    bucket = _bucket()
    with tempfile.TemporaryDirectory() as place:
        where = [bucket.server.url, bucket.name, f"v1/{_SERVICE}@{_HOST}/", place, then]
        return _speed([sys.executable, "-c", _GET, *where], works)


def _command(*arguments: str) -> list[str]:
    return ["archive", *arguments, "--config", os.environ["BENCHMARK_CONFIG"]]


def _ours(*arguments: str, works: Callable[[bytes], bool]) -> float:
    return _speed([sys.executable, "-m", "auditctl", *_command(*arguments)], works)


def _restore() -> float:
    with tempfile.TemporaryDirectory() as place:
        target = Path(place, "restored")
        day = _segments(_log())[0].name.day.isoformat()
        asked = ("restore", "--since", day, "--until", day, "--to", str(target))
        return _ours(*asked, works=lambda _: len([*target.glob("*.zst")]) == len(_finished()))


def _all_verified(printed: bytes) -> bool:
    found: dict[str, Any] = orjson.loads(printed)
    return bool(found["ok"]) and found["hosts"][0]["records"] == _records()


def _one_line(printed: bytes) -> bool:
    return printed.count(b"\n") == 1 and RARE.encode() in printed


def _peak(*arguments: str) -> float:
    """The most memory of a process that does it, with the imports of this module."""
    with Path(os.devnull).open("w") as null, redirect_stdout(null):
        if auditctl(_command(*arguments)):
            raise RuntimeError(f"auditctl archive {' '.join(arguments)} failed")
    return peak_megabytes(os.getpid())


_SEARCH: Final = ("search", f"details.task={RARE}", "--json")

CASES: Mapping[str, Case] = {
    "archive": Case(
        "us of CPU a record: chain read, compressed twice, hashed, stored with its lock, recorded",
        _upload,
    ),
    "zstd -3": Case(
        "us of CPU a record: `zstd -3` of the same segments",
        lambda: _zstd(lambda _, used: used * 1e6),
    ),
    "zstd -3, put": Case("the same, and boto3's `put_object` of each file", _zstd_and_put),
    "bytes": Case("bytes a record in the bucket, the manifest included", _bytes),
    "zstd -3 bytes": Case(
        "bytes a record of the files that `zstd -3` makes",
        lambda: _zstd(lambda packed, _: float(sum(path.stat().st_size for path in packed))),
    ),
    "requests": Case("requests for each finished segment; a manifest is one more", _requests),
    "restore": Case(
        "records/s: `auditctl archive restore` of a day of a host, hashes compared, files synced;"
        " with its start",
        _restore,
    ),
    "get, zstd -d": Case(
        "records/s: boto3's `download_file` and `zstd -d` of the same objects; with its start",
        lambda: _by_boto3("files", lambda _: True),
    ),
    "verify": Case(
        "records/s: `auditctl archive verify`: every lock, hash and link; with its start",
        lambda: _ours("verify", "--json", works=_all_verified),
    ),
    "get, sha256sum": Case(
        "records/s: boto3's `get_object` into `zstd -dc \\| sha256sum`; with its start",
        lambda: _by_boto3("sha256sum", lambda text: text.count(b"\n") == len(_finished())),
    ),
    "verify peak": Case("MB of the process", lambda: _peak("verify", "--json")),
    "search": Case(
        "records/s: `auditctl archive search`, one match; with its start",
        lambda: _ours(*_SEARCH, works=_one_line),
    ),
    "get, grep -F": Case(
        "records/s: boto3's `get_object` into `zstd -dc \\| grep -F VALUE`; with its start",
        lambda: _by_boto3(f"grep -F {RARE}", _one_line),
    ),
    "search peak": Case("MB of the process", lambda: _peak(*_SEARCH)),
}
RATIOS: tuple[Ratio, ...] = (
    Ratio("archive", "zstd -3, put", 3, at_least=False),
    Ratio("bytes", "zstd -3 bytes", 1.05, at_least=False),
    Ratio("restore", "get, zstd -d", 1.0),
    Ratio("verify", "get, sha256sum", 0.3),
    Ratio("search", "get, grep -F", 0.5),
)
