"""An event loop whose time passes only by waiting: for tests without a socket, a thread or a process."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, cast


class _Selector(selectors.SelectSelector):
    """Nothing comes from outside; whoever waits has waited at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing would ever happen"
        self.now += timeout
        return []


class PatientLoop(asyncio.SelectorEventLoop):
    """Its clock goes on by what is waited for, to the moment, however busy the machine is."""

    def __init__(self) -> None:
        self._passed = _Selector()
        super().__init__(self._passed)

    def time(self) -> float:
        """See `asyncio.AbstractEventLoop.time`."""
        return self._passed.now


def patiently(work: Any) -> Any:
    """What the coroutine gives, run in such a loop."""
    with asyncio.Runner(loop_factory=cast("Any", PatientLoop)) as runner:
        return runner.run(work)
