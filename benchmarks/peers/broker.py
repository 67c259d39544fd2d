"""One broker of Apache Kafka on loopback, and a topic of it to ship to.

Needs ``mvn``, to fetch Kafka into ``.cache/peers``, and a JDK 17 or newer.  Raises Unavailable.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson

from benchmarks.peers.packages import CACHE, Unavailable, succeed
from tests.support.ports import own_port

__all__ = ["VERSION", "Topic", "broker"]

VERSION: Final = "4.3.1"
_POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>benchmarks</groupId><artifactId>kafka</artifactId>
<version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{VERSION}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
<version>{VERSION}</version></dependency>
</dependencies></project>"""
_PROPERTIES: Final = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
log.dirs={place}/topics
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
_START_SECONDS: Final = 120.0


@contextmanager
def broker() -> Iterator[str]:
    """The address of a broker with 1 GiB of heap, which makes topics of one partition."""
    with own_port() as port, own_port() as controller, tempfile.TemporaryDirectory() as name:
        place = Path(name)
        config = place / "server.properties"
        config.write_text(_PROPERTIES.format(port=port, controller=controller, place=place))
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        succeed(
            [*_java("kafka.tools.StorageTool"), "format", "-t", cluster, "-c", str(config)], place
        )
        with (place / "broker.log").open("wb") as said:
            process = subprocess.Popen(
                [*_java("kafka.Kafka", "-Xms1g", "-Xmx1g"), str(config)], stdout=said, stderr=said
            )
        try:
            _wait_until_up(port, process, place / "broker.log")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


class Topic:
    """A new topic with one partition, which the first message makes."""

    def __init__(self, address: str) -> None:
        self.url = address
        self.prefix = f"bench-{uuid.uuid4().hex[:8]}"

    def count(self) -> int:
        """Return the end of its partition; 0 before there is one (ListOffsets, version 1)."""
        name = self.prefix.encode()
        asked = struct.pack(">hhih", 2, 1, 0, -1)  # its key and version; no name of the client
        asked += struct.pack(">iih", -1, 1, len(name)) + name + struct.pack(">iiq", 1, 0, -1)
        host, _, port = self.url.partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(struct.pack(">i", len(asked)) + asked)
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                error, _, end = struct.unpack(">hqq", answer.read(size)[-18:])
        return 0 if error else int(end)

    def copies(self) -> Counter[int]:
        """Read everything with Kafka's own consumer, and count the copies of each record."""
        consumer = _java("org.apache.kafka.tools.consumer.ConsoleConsumer")
        consumer += ["--bootstrap-server", self.url, "--topic", self.prefix, "--from-beginning"]
        consumer += ["--max-messages", str(self.count())]
        found: Counter[int] = Counter()
        with subprocess.Popen(
            consumer, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as reading:
            assert reading.stdout is not None
            for message in reading.stdout:
                found[orjson.loads(orjson.loads(message))["seq"]] += 1  # a line as a JSON string
        return found

    def forget(self) -> None:
        command = _java("org.apache.kafka.tools.TopicCommand")
        command += ["--bootstrap-server", self.url, "--delete", "--topic", self.prefix]
        succeed(command, CACHE)


def _java(program: str, *options: str) -> list[str]:
    """The command that runs a program of Kafka."""
    return ["java", *options, "-cp", f"{_libraries()}/*", program]


def _libraries() -> Path:
    """Fetch the libraries of the broker and its tools, once."""
    target = CACHE / f"kafka-{VERSION}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            place = Path(name)
            (place / "pom.xml").write_text(_POM)
            succeed(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=made"], place
            )
            (place / "made").rename(target)
    return target


def _wait_until_up(port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise Unavailable(f"Kafka did not start: {said.read_text(errors='replace')[-500:]}")
