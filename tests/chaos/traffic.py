"""A service under load, in a process of its own: ``python -m tests.chaos.traffic``.

Emits realistic events, among them ``--bad`` that no index with our mapping takes.  Each
acknowledged event is one line on stdout, ``seq hash``, and `` bad`` behind it for those.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import deque

import auditlog
from auditctl.demo.traffic import realistic
from auditlog.writer.ticket import Ticket

_EVENTS_A_PAUSE = 100
# Lucene takes no term above 32,766 bytes, and a flattened field's begins with its key.
_IMMENSE_KEY = "k" * 33_000


def run(given: argparse.Namespace) -> None:
    """Emit ``count`` events at about ``rate`` a second, ``bad`` of them spread among the others."""
    service, _, host = given.log.partition("@")
    rng = random.Random(given.log)
    planted = set(rng.sample(range(given.count), given.bad))
    waiting: deque[tuple[Ticket, str]] = deque()

    def acknowledge() -> None:
        while waiting and waiting[0][0].done():
            ticket, suffix = waiting.popleft()
            ticket.wait()
            sys.stdout.write(f"{ticket.seq} {ticket.hash}{suffix}\n")
        sys.stdout.flush()

    with auditlog.open(
        given.directory,
        service=service,
        host=host,
        flush="hybrid",
        max_segment_bytes=given.segment_bytes,
    ) as log:
        began = time.monotonic()
        for number, event in zip(range(given.count), realistic(service, rng), strict=False):
            if number in planted:
                waiting.append((log.emit("chaos.immense_key", details={_IMMENSE_KEY: 1}), " bad"))
            else:
                waiting.append((log.emit(event), ""))
            if number % _EVENTS_A_PAUSE == 0:
                acknowledge()
                time.sleep(max(0.0, began + number / given.rate - time.monotonic()))
        log.flush()
        acknowledge()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("log")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--bad", type=int, default=0)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--segment-bytes", type=int, default=1 << 20)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
