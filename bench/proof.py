"""What it costs to have the gateway prove itself before a request: pairs of the same call, alternating."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from http.client import HTTPConnection

from kiro_auth.gateway.calls import Listener, call
from kiro_auth.gateway.discovery import Address
from kiro_auth.socket_owners import owner


def measure(gateway: Address, pairs: int) -> dict[str, float]:
    """Median microseconds of one call, by its kind."""

    def plain() -> None:
        connection = HTTPConnection(gateway.host, gateway.port, timeout=10)
        connection.request("GET", "/health", headers={"x-api-key": gateway.key})
        assert connection.getresponse().read()
        connection.close()

    def proved() -> None:
        assert call(gateway).listener is Listener.OURS

    def looked_up() -> None:
        owner(gateway.host, gateway.port)

    kinds: dict[str, Callable[[], None]] = {"plain": plain, "proved": proved, "owner": looked_up}
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(pairs):
        for name, do in kinds.items():
            begun = time.perf_counter()
            do()
            spent[name].append((time.perf_counter() - begun) * 1e6)
    return {name: statistics.median(values) for name, values in spent.items()}
