"""How much one client may ask for."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field

from coloria.web.errors import RefusedError

__all__ = ["Rate", "client_of"]

MOST_CLIENTS = 10_000
"""Remembered; beyond it, those that have been quiet are forgotten."""


def client_of(host: str) -> str:
    """Who counts as one client: an address, or the /64 that an IPv6 host has to itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


@dataclass
class Rate:
    """So many a minute for each client; as many at once after a pause (a token bucket)."""

    per_minute: int
    left: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Tokens of a client, and when they were counted."""

    def take(self, client: str) -> None:
        """Counts one.

        Raises:
            RefusedError: There were too many.
        """
        now = time.monotonic()
        tokens = self._tokens(client, now)
        if tokens < 1:
            raise RefusedError(
                "too_many_requests",
                f"more than {self.per_minute} requests of this kind in a minute",
                hint="wait a little",
                retry_after=(1 - tokens) * 60 / self.per_minute,
            )
        if len(self.left) >= MOST_CLIENTS:
            self.left = {
                c: v for c, v in self.left.items() if self._tokens(c, now) < self.per_minute
            }
        self.left[client] = tokens - 1, now

    def _tokens(self, client: str, now: float) -> float:
        tokens, counted = self.left.get(client, (float(self.per_minute), now))
        return min(self.per_minute, tokens + (now - counted) * self.per_minute / 60)
