"""Which network addresses a URL from a stranger's list may reach: only global ones.

The check is made on resolved addresses and the connection is made to the address that was checked, so
no spelling of a host (decimal, octal, IPv6-mapped) and no second DNS answer can lead elsewhere.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_DISCARD = IPv6Network("100::/64")  # RFC 6666
_SITE_LOCAL = IPv6Network("fec0::/10")  # RFC 3879, deprecated but still routed inside some sites
_RELAY_6TO4 = ipaddress.IPv4Network("192.88.99.0/24")  # RFC 7526
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890


def is_public(text: str) -> bool:
    """Whether an address, as the resolver spells it, is one of the public internet."""
    address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, IPv6Address):
        return _is_public_v6(address)
    return _is_public_v4(address)


def _is_public_v4(address: IPv4Address) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and address not in _RELAY_6TO4 and address not in _PROTOCOLS


def _is_public_v6(address: IPv6Address) -> bool:
    embedded = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    if embedded is not None:
        return _is_public_v4(embedded)
    if any(address in network for network in (_LOCAL_NAT64, _DISCARD, _SITE_LOCAL)):
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special


def resolve(host: str, port: int, wait_s: float) -> list[str]:
    """Every address of a host. Raises OSError when it has none, TimeoutError when the resolver is too slow.

    `getaddrinfo` knows no time limit, so it runs in a thread that is abandoned when it is late.
    """
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(OSError(f"{host}: {error}"))
        else:
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))

    threading.Thread(target=ask, name="flywheel-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=max(wait_s, 0.0))
    except queue.Empty:
        raise TimeoutError(f"{host}: no answer from the resolver") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
