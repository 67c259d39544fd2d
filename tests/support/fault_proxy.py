"""A proxy on loopback between a shipper and a server, which does to requests what networks do.

    with FaultProxy(server_port, seed=1) as proxy:
        proxy.deck = [Fault.CUT_RESPONSE, None, None] bulk requests draw from it, shuffled anew
        proxy.outage = Fault.UNAUTHORIZED             for every request, until None again
        proxy.max_body_bytes = 256 << 10              413 above it
        proxy.seen[Fault.CUT_RESPONSE]                how often it was done
        proxy.encodings["gzip"], proxy.bulk_bytes     how bulk requests came, and their bodies' size

It speaks just enough HTTP/1.1: bodies with Content-Length from the client, those or chunked ones
from the server.  Only bulk requests are struck at random; ``outage`` strikes all.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Fault", "FaultProxy"]


class Fault(enum.Enum):
    """Faults of a request; in the last three cases the server has received it whole."""

    CUT_REQUEST = "half of the request reaches the server, then both connections are reset"
    BUSY = "429 for the whole request"
    UNAVAILABLE = "503"
    UNAUTHORIZED = "401"
    TOO_LARGE = "413"
    BUSY_ITEMS = "429 for some of the items; the server indexes the others"
    CUT_RESPONSE = "half of the response arrives, then the connection is reset"
    NO_RESPONSE = "the server has done it, and no answer ever comes"


_ANSWERS: Mapping[Fault, tuple[int, str]] = {
    Fault.BUSY: (429, "es_rejected_execution_exception"),
    Fault.UNAVAILABLE: (503, "unavailable_shards_exception"),
    Fault.UNAUTHORIZED: (401, "security_exception"),
    Fault.TOO_LARGE: (413, "content_too_long_exception"),
}


@dataclass
class _Message:
    """A request or a response: the first line, headers in lower case, the whole body."""

    start: str
    headers: dict[str, str]
    body: bytes

    def encode(self) -> bytes:
        head = [self.start]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + self.body


@dataclass
class _Upstream:
    """The connection to the server that belongs to one of the client's."""

    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def send(self, content: bytes) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(content)
        await self.writer.drain()

    async def exchange(self, request: _Message) -> _Message:
        await self.send(request.encode())
        assert self.reader is not None
        response = await _read_message(self.reader)
        if response is None:
            raise ConnectionResetError
        return response

    def abort(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


@dataclass
class FaultProxy:
    """Runs in a thread of its own for as long as the ``with`` lasts."""

    server_port: int
    seed: int
    deck: Sequence[Fault | None] = ()
    outage: Fault | None = None
    max_body_bytes: int | None = None
    seen: Counter[Fault] = field(default_factory=Counter)
    bulks: int = 0
    bulk_bytes: int = 0
    encodings: Counter[str] = field(default_factory=Counter)
    port: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._closed = asyncio.Event()
        self._drawn: list[Fault | None] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closed.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next turn

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = _Upstream(self.server_port)
        # The loop itself knows a task that waits for its own stream by weak references alone.
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await _read_message(reader)) is not None:
                response = await self._answer(request, upstream, reader, writer)
                if response is None:
                    return
                writer.write(response)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client, or the server, was killed: its end of the proxy ends with it
        finally:
            self._tasks.discard(task)
            upstream.abort()
            writer.transport.abort()

    async def _answer(
        self,
        request: _Message,
        upstream: _Upstream,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bytes | None:
        """The bytes of the response; None when the connection is to be reset."""
        fault = self._draw(request)
        if fault is not None:
            self.seen[fault] += 1
        if fault in _ANSWERS:
            return _refusal(*_ANSWERS[fault]).encode()
        if fault is Fault.CUT_REQUEST:
            content = request.encode()
            await upstream.send(content[: len(content) - len(request.body) // 2])
            await asyncio.sleep(0.01)  # so that the server reads it before the reset
            return None
        if fault is Fault.BUSY_ITEMS:
            return (await self._refuse_items(request, upstream)).encode()
        response = (await upstream.exchange(request)).encode()
        if fault is Fault.CUT_RESPONSE:
            writer.write(response[: len(response) // 2])
            await asyncio.sleep(0.01)  # so that the client reads it before the reset
            return None
        if fault is Fault.NO_RESPONSE:
            await reader.read(1)  # until the client gives up
            return None
        return response

    def _draw(self, request: _Message) -> Fault | None:
        if self.outage is not None:
            return self.outage
        if "/_bulk" not in request.start:
            return None
        self.bulks += 1
        self.bulk_bytes += len(request.body)
        self.encodings[request.headers.get("content-encoding", "")] += 1
        if self.max_body_bytes is not None and len(request.body) > self.max_body_bytes:
            return Fault.TOO_LARGE
        if not self._drawn:
            self._drawn = self._rng.sample(self.deck, len(self.deck))
        return self._drawn.pop() if self._drawn else None

    async def _refuse_items(self, request: _Message, upstream: _Upstream) -> _Message:
        """Pass on about half of the items and answer 429 for the others, in their places."""
        lines = request.body.split(b"\n")[:-1]
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        passed = [self._rng.random() < 0.5 for _ in pairs]
        body = b"".join(
            b"%b\n%b\n" % pair for pair, kept in zip(pairs, passed, strict=True) if kept
        )
        items: list[Any] = []
        if body:
            headers = {**request.headers, "content-length": str(len(body))}
            response = await upstream.exchange(_Message(request.start, headers, body))
            if " 200 " not in f"{response.start} ":
                return response
            items = json.loads(response.body)["items"]
        answered = iter(items)
        merged = [
            next(answered) if kept else _busy_item(json.loads(action))
            for (action, _), kept in zip(pairs, passed, strict=True)
        ]
        return _json_response(200, {"items": merged})


def _busy_item(action: dict[str, Any]) -> dict[str, Any]:
    error = {"type": "es_rejected_execution_exception", "reason": "queue capacity"}
    return {"create": {"_id": action["create"]["_id"], "status": 429, "error": error}}


def _refusal(status: int, kind: str) -> _Message:
    return _json_response(status, {"error": {"type": kind, "reason": "struck"}, "status": status})


def _json_response(status: int, content: object) -> _Message:
    body = json.dumps(content).encode()
    headers = {
        "content-type": "application/json",
        "x-elastic-product": "Elasticsearch",
        "content-length": str(len(body)),
    }
    return _Message(f"HTTP/1.1 {status} Struck", headers, body)


async def _read_message(reader: asyncio.StreamReader) -> _Message | None:
    """The next message; None at the end of the stream."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.pop("transfer-encoding", "") == "chunked":
            body = b"".join([chunk async for chunk in _chunks(reader)])
            headers["content-length"] = str(len(body))
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return _Message(start, headers, body)
    return None


async def _chunks(reader: asyncio.StreamReader) -> Any:
    while True:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        chunk = await reader.readexactly(size)
        await reader.readexactly(2)
        if not size:
            return
        yield chunk
