"""Find a request's client address, with or without proxies.  Pure.

The client can write anything into X-Forwarded-For; each proxy appends the address it saw.  So the
header is read from the right, only when the peer is a configured proxy, and only as far as such
proxies go.

Invariants (tests of the same name in tests/auditlog/bridges/test_client_address.py):
  not_forged   a header from a peer that is no trusted proxy changes nothing
  innermost    the first address from the right that is no trusted proxy is the client's
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from auditlog.errors import InvalidOption

__all__ = ["TrustedProxies"]

_Address: TypeAlias = IPv4Address | IPv6Address

_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[0-9.]+):\d+")


class TrustedProxies:
    """The proxies in front of us: networks (``10.0.0.0/8``), addresses, and ``unix``.

    ``unix`` trusts a peer without address, which is a proxy that connects to a Unix socket.
    Raises InvalidOption.
    """

    def __init__(self, proxies: Iterable[str]) -> None:
        if isinstance(proxies, str):
            raise InvalidOption("trusted_proxies is one string", hint="Give a list of networks.")
        given = tuple(proxies)
        self._unix = "unix" in given
        try:
            self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
                ip_network(proxy) for proxy in given if proxy != "unix"
            )
        except ValueError as error:
            raise InvalidOption(
                f"trusted_proxies: {error}", hint="Give networks, addresses and unix."
            ) from None

    def client(self, peer: str | None, forwarded_for: Iterable[str]) -> str | None:
        """Return the client's address, None when it is unknown.

        ``peer`` is the other end of the connection, ``forwarded_for`` the values of every
        X-Forwarded-For header in their order.
        """
        address = None if not peer else _parsed(peer)
        trusted = self._unix if not peer else self._trusts(address)
        for hop in reversed(",".join(forwarded_for).split(",")):
            if not trusted:
                break
            found = _parsed(hop.strip())
            if found is None:  # entries to the left of it were not written by our proxies
                break
            address, trusted = found, self._trusts(found)
        return None if address is None else str(address)

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _parsed(text: str) -> _Address | None:
    if (match := _WITH_PORT.fullmatch(text)) is not None:
        text = match["v6"] or match["v4"]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
