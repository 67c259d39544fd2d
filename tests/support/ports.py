"""Ports on loopback that stay a test's own, before, between and after a server listens there.

    with own_port() as port:
        ...  # a server may listen there, stop, and listen there again; else connections are refused

The kernel hands out any free port, to servers that ask for port 0 and to clients for their own end,
but none that a socket is bound to.  A server with SO_REUSEADDR, as nearly all have it, may listen
beside a socket that has it too and does not listen.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["free_port", "held_port", "own_port"]

_held: list[socket.socket] = []


def held_port() -> socket.socket:
    """A socket that holds a port until it is closed; ``getsockname()[1]`` is the port."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def free_port() -> int:
    """A port that is held until the run ends."""
    _held.append(held_port())
    port: int = _held[-1].getsockname()[1]
    return port


@contextmanager
def own_port() -> Iterator[int]:
    with held_port() as held:
        port: int = held.getsockname()[1]
        yield port
