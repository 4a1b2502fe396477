"""Which addresses a request may go to, decided where the connection is made.

A name is resolved once, every address it has is judged, and the connection goes to the very address
that was judged: a name that resolves otherwise a moment later (DNS rebinding) gains nothing. TLS still
verifies the name, and the Host header still carries it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
CONNECT_SECONDS_MAX = 5.0


class AddressRefusedError(Exception):
    """The host is, or resolves to, an address that is not public. Retryable: names change."""


def is_public(text: str) -> bool:
    """Tell whether an IP address is one of the public internet; embedded IPv4 addresses are looked at too."""
    try:
        address: IpAddress = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections of an httpcore pool; with `public_only` to public addresses alone."""

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers.

        Raises:
            AddressRefusedError: one of its addresses is not public. Retryable.
            httpcore.ConnectError: the name is unknown, or nothing answers. Retryable.
        """
        addresses = await self._resolve(host, port)
        if self._public_only and not all(map(is_public, addresses)):
            raise AddressRefusedError("the endpoint's host has an address that is not public")
        for position, address in enumerate(addresses, 1):
            try:
                return await self._inner.connect_tcp(address, port, CONNECT_SECONDS_MAX, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses):
                    raise
        raise httpcore.ConnectError("the endpoint's host has no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise httpcore.ConnectError("the endpoint's host is unknown") from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
