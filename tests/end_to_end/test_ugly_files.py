"""Files such as hosts really have, through a running agent into a real Elasticsearch.

One agent ships all of them: most are there before it starts, others change while it runs, is
reloaded, killed and started again.  Each test asks what became of one of them: every line is one
document or one entry of the quarantine, or the agent's log names the file and why it is not
shipped.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import zstandard

from tests.support.elasticsearch import Cluster
from tests.support.logs import write_log
from tests.support.ports import held_port
from tests.support.programs import not_run
from tests.support.waiting import eventually

pytestmark = pytest.mark.elasticsearch

PREFIX: Final = "test-ugly-files"
LONG_AGO: Final = 1_000_000_000
_MARK: Final = re.compile(r"mark-(\d+)-")


def line(number: int, **fields: Any) -> bytes:
    return orjson.dumps({"mark": f"mark-{number}-", **fields}) + b"\n"


def lines(*numbers: int) -> bytes:
    return b"".join(line(number) for number in numbers)


def raw(number: int, rest: bytes) -> bytes:
    """A line whose other members are given as they stand in the file."""
    return b'{"mark":"mark-%d-",%b}\n' % (number, rest)


def nested(number: int, depth: int) -> bytes:
    return raw(number, b'"v":' + b'{"a":' * depth + b"1" + b"}" * depth)


@dataclass(frozen=True)
class Input:
    """``there`` are the files before the agent starts; ``later`` changes them, step by step.

    documents    marks of the lines that become a document each, in every kind of it
    quarantined  marks of the lines that the server refuses
    said         what the agent's log says of a file that is not shipped, or not whole
    """

    there: dict[str, bytes]
    documents: Sequence[int] = ()
    quarantined: Sequence[int] = ()
    said: str = ""
    later: Sequence[Callable[[Path], object]] = field(default=())


def append(name: str, content: bytes) -> Callable[[Path], object]:
    def run(directory: Path) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        with (directory / name).open("ab") as file:
            file.write(content)

    return run


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda directory: (directory / old).rename(directory / new)


def pack(name: str) -> Callable[[Path], object]:
    def run(directory: Path) -> None:
        plain = directory / name
        plain.with_name(f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()

    return run


def fill(name: str, offset: int, content: bytes) -> Callable[[Path], object]:
    def run(directory: Path) -> None:
        with (directory / name).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    return run


def link_in_a_circle(directory: Path) -> None:
    (directory / "again").symlink_to(directory)
    (directory / "nowhere.log").symlink_to("gone")
    (directory / "itself.log").symlink_to("itself.log")
    os.mkfifo(directory / "pipe.log")
    os.link(directory / "a.log", directory / "b.log")


GZIPPED: Final = gzip.compress(lines(*range(5)), mtime=0)
ZSTD: Final = zstandard.ZstdCompressor(write_checksum=True)
DAMAGED: Final = bytes(b ^ (n == 9) for n, b in enumerate(ZSTD.compress(lines(*range(9)))))

INPUTS: Final = {
    # Contents of lines
    "nested deeper than an index takes": Input(
        {"a.log": nested(0, 20) + nested(1, 400) + nested(2, 1023) + nested(3, 5000) + line(4)},
        documents=[0, 3, 4], quarantined=[1, 2],
    ),
    "numbers beyond every type": Input(
        {"a.log": raw(0, b'"v":1e400') + raw(1, b'"v":' + b"9" * 400) + raw(2, b'"v":-0.0')
         + raw(3, b'"v":18446744073709551616')},
        documents=[0, 1, 2, 3],
    ),
    "one field of every type": Input(
        {"a.log": b"".join(
            raw(n, b'"v":' + value) for n, value in enumerate(
                (b"1", b'"text"', b'{"a":1}', b'[1,"a",{"b":2},[3]]', b"null", b"true", b"[]",
                 b'{"a":{"b":1}}', b'"2026-11-23"', b"1.5", b'{"":1}')))},
        documents=range(11),
    ),
    "names of fields that no index takes": Input(
        {"a.log": b"".join(
            raw(n, orjson.dumps(name) + b":1") for n, name in enumerate(
                ("", " ", ".", "..", ".a", "a.", "a..b", "*", "a\0b", "_id", "_source", "a\nb",
                 "auditlog", "x" * 300)))
         + raw(14, b'"a.b":1,"a":{"c":2}') + raw(15, b'"\\ud800":1')},
        documents=range(16),
    ),
    "one name twice in an object": Input(
        {"a.log": raw(0, b'"a":1,"a":2') + raw(1, b'"a":1,"A":2') + line(2)},
        documents=[1, 2], quarantined=[0],
    ),
    "more fields than an index takes": Input(
        {"a.log": b"".join(
            line(n, **{f"f{n}_{k}": k for k in range(250)}) for n in range(6))
         + line(6, **{f"g{k}": k for k in range(1500)})},
        documents=range(7),
    ),
    "values longer than a term": Input(
        {"a.log": line(0, v="x" * 40_000) + line(1, v="\u00e9" * 20_000) + line(2, v=["x"] * 9999)},
        documents=[0, 1, 2],
    ),
    "lines longer than the limit": Input(
        {"a.log": b"mark-0-" + b"y" * (3 << 20) + b"\n" + line(1)}, documents=[0, 1]
    ),
    "times of every kind": Input(
        {"a.log": b"".join(
            raw(n, b'"@timestamp":' + value) for n, value in enumerate(
                (b'"2026-11-23 07:12:00"', b'"2026-11-23T07:12:60Z"', b'"yesterday"', b'""', b"0",
                 b"-1", b"1e300", b"1e400", b"null", b"[]", b"{}", b"true",
                 b'"9999-12-31T23:59:59Z"',
                 b'"2026-02-30T00:00:00Z"', b'{"$date":{}}', b'"\\ud800"')))},
        documents=range(16),
    ),
    "lines that are no JSON": Input(
        {"a.log": b"".join(
            text % n for n, text in enumerate(
                (b"mark-%d- text\n", b'[{"mark":"mark-%d-"}]\n', b'"mark-%d-"\n',
                 b"{'mark':'mark-%d-'}\n", b'{"mark":"mark-%d-",}\n', b'{"mark":"mark-%d-"}{}\n',
                 b'{"v":NaN,"mark":"mark-%d-"}\n', b'\x1e{"mark":"mark-%d-"}\n',
                 b"\x1b[31mmark-%d-\x1b[0m\n", b"mark-%d- a\0b\n")))},
        documents=range(10),
    ),
    "bytes that are not UTF-8": Input(
        {"a.log": b"".join(
            raw(n, b'"v":"%b"' % value) for n, value in enumerate(
                (b"\xc0\x80", b"\xed\xa0\x80", b"\xe9", b"\xf4\x90\x80\x80", b"\xff")))
         + b"mark-5- \xe9\xff\n"},
        documents=range(6),
    ),
    "line ends of other systems": Input(
        {"a.log": line(0)[:-1] + b"\r\n\r\nmark-1- text\r\n" + b"\n" * 100 + line(2)},
        documents=[0, 1, 2],
    ),
    "a byte order mark": Input({"a.log": b"\xef\xbb\xbf" + lines(0, 1)}, documents=[0, 1]),
    # Contents of files
    "zeros in front, in the middle and at the end": Input(
        {"front.log": bytes(70_000) + lines(0, 1), "end.log": lines(2, 3) + bytes(4096),
         "middle.log": line(4) + bytes(5000) + lines(5, 6)},
        documents=range(7),
    ),
    "the same line again and again": Input({"a.log": line(0) * 5}, documents=[0] * 5),
    "two files that begin alike": Input(
        {"a.log": lines(0, 1), "b.log": lines(0, 2)}, documents=[0, 1, 2]
    ),
    "an empty file and one of line feeds": Input({"a.log": b"", "b.log": b"\n" * 99}),
    "UTF-16": Input({"a.log": "\ufeff{}\n".encode("utf-16-le")}, said="it is UTF-16"),
    "binary": Input({"a.log": bytes(range(32)) * 9 + bytes(99)}, said="it is binary"),
    "gzip without its suffix": Input({"a.log": GZIPPED}, said="it is gzip, and not named so"),
    "gzip of several members": Input(
        {"a.log.gz": gzip.compress(line(0)[:9]) + gzip.compress(line(0)[9:] + line(1))},
        documents=[0, 1],
    ),
    "gzip with zeros behind it": Input({"a.log.gz": GZIPPED + bytes(512)}, documents=range(5)),
    "gzip that is cut off": Input(
        {"a.log.gz": gzip.compress(lines(*range(2)) + b"mark-9-")[:-12]},
        documents=[0, 1], said="is not whole",
    ),
    "text that is named gzip": Input({"a.log.gz": lines(0, 1)}, said="is not whole"),
    "zstd with a skippable frame": Input(
        {"a.log.zst": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + ZSTD.compress(lines(0, 1))},
        documents=[0, 1],
    ),
    "zstd with a flipped bit": Input(
        {"a.log.zst": DAMAGED},
        said="is not whole",
    ),
    # Where files are
    "names of every kind": Input(
        {name: line(n) for n, name in enumerate(
            ("a b.log", "-rf.log", "[a].log", "$(id).log", "new\nline.log", "esc\x1b[2J.log",
             "\u202e.log", "*.log", os.fsdecode(b"\xff.log"), "x" * 251 + ".log"))},
        documents=range(10),
    ),
    "links in circles, pipes and a second name": Input(
        {"a.log": lines(0, 1)}, documents=[0, 1, 2],
        later=[link_in_a_circle, append("b.log", line(2))],
    ),
    # Changes of files while the agent runs
    "a directory that appears": Input(
        {}, documents=[0, 1, 2],
        later=[append("new/a.log", line(0)), append("new/er/a.log", line(1)),
               append("new/a.log", line(2))],
    ),
    "rotated by renaming": Input(
        {"a.log": line(0)}, documents=range(5),
        later=[rename("a.log", "a.log.1"), append("a.log.1", line(1)), append("a.log", line(2)),
               rename("a.log.1", "a.log.2"), rename("a.log", "a.log.1"), append("a.log", line(3)),
               append("a.log.1", line(4))],
    ),
    "rotated and compressed": Input(
        {"a.log": lines(0, 1)}, documents=range(4),
        later=[rename("a.log", "a.log.1"), append("a.log", line(2)), pack("a.log.1"),
               append("a.log", line(3)), pack("a.log")],
    ),
    "half a line over a restart": Input(
        {"a.log": line(0) + line(1)[:12]}, documents=[0, 1, 2, 3],
        later=[append("a.log", line(1)[12:] + line(2)[:9]), append("a.log", line(2)[9:]),
               append("a.log", line(3))],
    ),
    "reserved room that is filled": Input(
        {"a.log": line(0) + bytes(65_536)}, documents=[0, 1, 2],
        later=[fill("a.log", len(line(0)), line(1)), fill("a.log", len(lines(0, 1)), line(2))],
    ),
    "a directory that is renamed and replaced by a link": Input(
        {"in/a.log": line(0)}, documents=[0, 1, 2],
        later=[rename("in", "moved"), append("moved/a.log", line(1)),
               lambda directory: (directory / "in").symlink_to("moved"),
               append("in/a.log", line(2))],
    ),
}  # fmt: skip
DIRECTORIES: Final = {name: f"input-{number}" for number, name in enumerate(INPUTS)}


@dataclass(frozen=True)
class Arrived:
    """Everything that arrived, was refused or was named."""

    documents: dict[str, Counter[str]]
    quarantined: dict[str, list[dict[str, Any]]]
    log: str
    ready: tuple[int, str]
    status: subprocess.CompletedProcess[str]
    metrics: str


def marks_of(text: str) -> str:
    return ",".join(_MARK.findall(text))


def directory_of(path: str) -> str:
    return next((part for part in Path(path).parts if part.startswith("input-")), "")


@pytest.fixture(scope="module")
def arrived(
    _open_node: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arrived]:
    if reason := _open_node.get("reason"):
        not_run("ELASTICSEARCH", f"against a real Elasticsearch: {reason}")
    cluster = Cluster(_open_node["url"])
    cluster.forget(PREFIX)
    with ExitStack() as stop:
        stop.callback(cluster.forget, PREFIX)
        yield ship_all(cluster, tmp_path_factory.mktemp("ugly"), stop)


def ship_all(cluster: Cluster, place: Path, stop: ExitStack) -> Arrived:
    for name, given in INPUTS.items():
        (place / "logs" / DIRECTORIES[name]).mkdir(parents=True)
        for file, content in given.there.items():
            append(file, content)(place / "logs" / DIRECTORIES[name])
            if file.endswith((".gz", ".zst")):  # a new one may still be written
                os.utime(place / "logs" / DIRECTORIES[name] / file, (LONG_AGO, LONG_AGO))
    log = write_log(place / "audit", records=20)
    log.active.write_bytes(log.active.read_bytes().replace(b'"seq":7,', b'"seq":8,'))
    held = held_port()
    stop.callback(held.close)
    port = held.getsockname()[1]
    (place / "config.toml").write_text(
        f"""
        host = "hive1"
        directories = ["{place}/audit"]
        state_dir = "{place}/state"
        metrics = "127.0.0.1:{port}"
        [sinks.main]
        kind = "elasticsearch"
        urls = ["{cluster.url}"]
        replicas = 0
        index_prefix = "{PREFIX}-audit"
        """
        + "".join(  # equal lines of one source that begin alike are one document
            f"""
        [[sources.ndjson]]
        name = "ugly-{directory}"
        paths = ["{place}/logs/{directory}/**/*.log*"]
        """
            for directory in DIRECTORIES.values()
        )
    )
    said = place / "agent.log"
    command = [sys.executable, "-m", "auditctl", "agent", "--only=ship"]
    command += [f"--config={place}/config.toml"]

    def start() -> subprocess.Popen[bytes]:
        before = said.read_text().count("started: ") if said.exists() else 0
        with said.open("ab") as output:
            agent = subprocess.Popen(command, stderr=output)
        stop.callback(agent.wait)
        stop.callback(agent.kill)
        eventually(lambda: said.read_text().count("started: ") > before, "the agent at work")
        return agent

    def missing(steps: int) -> list[str]:
        """Inputs that have not arrived as far as they were written by now."""
        there, refused, text = found(cluster), entries(place), said.read_text()
        return [
            name
            for name, given in INPUTS.items()
            if len(given.later) <= steps
            and (
                there[DIRECTORIES[name]].total() < len(given.documents)
                or len(refused.get(DIRECTORIES[name], ())) < len(given.quarantined)
                or (given.said and f"/{DIRECTORIES[name]}/" not in text)
            )
        ]

    def arrive(steps: int) -> None:
        try:
            eventually(lambda: not missing(steps))
        except AssertionError:
            pytest.fail(f"did not arrive in step {steps}: {missing(steps)}", pytrace=False)

    agent = start()
    arrive(0)
    for step in range(max(len(given.later) for given in INPUTS.values())):
        if step == 1:
            agent.send_signal(signal.SIGHUP)
            eventually(lambda: "reloaded: " in said.read_text(), "the reload")
        if step == 2:
            agent.kill()
            agent.wait()
            agent = start()
        if step == 4:
            agent.terminate()
            assert agent.wait(120) == 0
            agent = start()
        for name, given in INPUTS.items():
            if step < len(given.later):
                given.later[step](place / "logs" / DIRECTORIES[name])
        arrive(step + 1)
    told = asked(port, "readyz"), asked(port, "metrics")[1]
    status = subprocess.run(
        [sys.executable, "-m", "auditctl", "status", "--json", f"--config={place}/config.toml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    agent.terminate()
    assert agent.wait(120) == 0
    return Arrived(found(cluster), entries(place), said.read_text(), told[0], status, told[1])


def found(cluster: Cluster) -> dict[str, Counter[str]]:
    """Documents by the directory of their file and their marks."""
    there: dict[str, Counter[str]] = {directory: Counter() for directory in DIRECTORIES.values()}
    status, _ = cluster.ask("POST", f"/{PREFIX}-ugly-*/_search", {"size": 0})
    for hit in cluster.anything(f"{PREFIX}-ugly-*") if status == 200 else ():
        source = hit["_source"]
        path = source["auditlog"]["source"]["path"]
        there[directory_of(path)][marks_of(json.dumps(source))] += 1
    return there


def entries(place: Path) -> dict[str, list[dict[str, Any]]]:
    """Entries of the quarantine by the directory of their file, as auditctl lists them."""
    done = subprocess.run(
        [sys.executable, "-m", "auditctl", "quarantine", "list", "--json",
         f"--config={place}/config.toml"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(done.stdout)["entries"]:
        listed.setdefault(directory_of(str(entry.get("place", ""))), []).append(entry)
    return listed


def asked(port: int, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("name", INPUTS)
def test_every_line_is_a_document_or_in_quarantine_or_its_file_is_named(
    name: str, arrived: Arrived
) -> None:
    given, directory = INPUTS[name], DIRECTORIES[name]
    assert arrived.documents[directory] == Counter(str(mark) for mark in given.documents)
    refused = arrived.quarantined.get(directory, [])
    assert len(refused) == len(given.quarantined), refused
    for entry in refused:
        assert entry["kind"] == "refused"
        assert re.search(r"\.log:\d+$", entry["place"])
        assert "the document was refused" in entry["reason"]
    of_it = [text for text in arrived.log.splitlines() if f"/{directory}/" in text]
    named = [text for text in of_it if " ERROR " in text or "is not shipped" in text]
    assert bool(named) == bool(given.said), named
    assert all(given.said in text for text in named)


def test_readiness_status_and_metrics_tell_what_is_wrong(arrived: Arrived) -> None:
    code, reasons = arrived.ready
    assert code == 503
    assert "is not whole" in reasons
    refused = sum(len(given.quarantined) for given in INPUTS.values())
    assert '{outcome="quarantined",sink="main"}' in arrived.metrics
    assert 'auditlog_shipper_pending_records{sink="main"} 0.0' in arrived.metrics
    assert arrived.status.returncode == 1
    (told,) = [
        text for text in json.loads(arrived.status.stdout)["problems"] if "sink main" in text
    ]
    assert f" {refused + 2} records or alarms are in quarantine" in told, "one line is no record"
    assert "Traceback" not in arrived.log
