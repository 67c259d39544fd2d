from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.bridges.client_address import TrustedProxies
from auditlog.errors import InvalidOption

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ADDRESSES = st.ip_addresses().map(str)


@calm
@given(ADDRESSES, st.lists(st.text() | ADDRESSES))
def test_not_forged(peer: str, headers: list[str]) -> None:
    nobody = TrustedProxies([])
    assert nobody.client(peer, headers) == nobody.client(peer, [])


@calm
@given(st.lists(ADDRESSES | st.text()), st.ip_addresses(v=4).map(str))
def test_innermost(forged: list[str], client: str) -> None:
    proxies = TrustedProxies(["fd00::/8"])
    forwarded = [*forged, f"{client}, fd00::2", "fd00::3"]
    assert proxies.client("fd00::1", forwarded) == client


@pytest.mark.parametrize(
    ("trusted", "peer", "headers", "client"),
    [
        ([], None, [], None),
        ([], "", ["192.0.2.7"], None),
        ([], "192.0.2.1", [], "192.0.2.1"),
        (["10.0.0.0/8"], "10.0.0.1", [], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["192.0.2.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["192.0.2.9", "192.0.2.7"], "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["192.0.2.9, unknown"], "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", ["192.0.2.7:4711"], "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        (["10.0.0.0/8"], "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["unix"], None, ["192.0.2.7"], "192.0.2.7"),
        (["unix"], "192.0.2.1", ["192.0.2.7"], "192.0.2.1"),
        ([], "testclient", [], None),
    ],
)
def test_the_client_is_found(
    trusted: list[str], peer: str | None, headers: list[str], client: str | None
) -> None:
    assert TrustedProxies(trusted).client(peer, headers) == client


def test_wrong_networks_are_refused() -> None:
    with pytest.raises(InvalidOption, match="example"):
        TrustedProxies(["proxy.example"])
    with pytest.raises(InvalidOption, match="list of networks"):
        TrustedProxies("10.0.0.0/8")
