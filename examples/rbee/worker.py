"""A worker process: loads one model file and answers its hive, a JSON object a line.

    python -m rbee.worker MODEL_FILE
    > {"op":"ping"}                                       < {"op":"pong"}
    > {"op":"run","id":"t1","tokens":32,"seconds":0.1}    < {"op":"done","id":"t1","tokens":32}
    > {"op":"cancel","id":"t1"}                           < {"op":"canceled","id":"t1","tokens":7}

First it says {"op":"ready","sha256":"…"} of what it loaded.  It ends at SIGTERM or when its stdin
is closed, so it never outlives its hive; what it is doing then it finishes first.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
from pathlib import Path
from typing import Any


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def infer(task: str, tokens: int, seconds: float) -> None:
    """Make tokens up, one after the other."""
    done = 0
    try:
        for done in range(1, tokens + 1):  # noqa: B007  (also used after the loop)
            await asyncio.sleep(seconds / tokens)
    except asyncio.CancelledError:
        say(op="canceled", id=task, tokens=done)
        return
    say(op="done", id=task, tokens=done)


async def main(model: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with Path(model).open("rb") as file:
        say(op="ready", sha256=hashlib.file_digest(file, "sha256").hexdigest())
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: dict[str, asyncio.Task[None]] = {}
    stopping = asyncio.create_task(stop.wait())
    while True:
        line = asyncio.create_task(reader.readline())
        await asyncio.wait({line, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not line.done() or not (text := line.result()):
            break
        message = json.loads(text)
        if message["op"] == "ping":
            say(op="pong")
        elif message["op"] == "run":
            work = infer(message["id"], message["tokens"], message["seconds"])
            tasks[message["id"]] = asyncio.create_task(work)
        elif message["op"] == "cancel" and (task := tasks.get(message["id"])) is not None:
            task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
