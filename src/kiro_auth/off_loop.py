"""Where work is done that may take long: at once, or in a thread while the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """How a piece of work is done."""

    def __call__(self, work: Callable[..., T], /, *args: object) -> Awaitable[T]:
        """What the work gives.  Raises what it raises."""


async def at_once(work: Callable[..., T], /, *args: object) -> T:
    """Do the work here: a thread would cost as much as all of a short request."""
    return work(*args)


class Threads:
    """So many pieces of work at a time, each in a thread; one that waits is dropped when it is cancelled.

    No thread is made before the first piece.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    @cached_property
    def _executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix="work")

    async def run(self, work: Callable[..., T], /, *args: object) -> T:
        """What the work gives.  Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    def close(self) -> None:
        """Drop what waits; what was begun goes on to its end."""
        if "_executor" in self.__dict__:
            self._executor.shutdown(wait=False, cancel_futures=True)
