"""Stores for tests: changed at once, as another program would change them while a test goes on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kiro_auth.store.files import FileStore

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What it gives, whether or not the test runs in an event loop of its own."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One beside all tests of this process, which holds nothing between two calls.

    A loop and two threads for each of a thousand changes would cost more than the changes.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="stores", daemon=True).start()
    return loop


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loop.cache_clear)  # its thread is not there


class HandStore(FileStore):
    """The user's files, which a test also reads and changes by hand: each step is done when it returns."""

    def accounts(self) -> list[dict[str, Any]]:
        return [dict(record) for record in self.snapshot().accounts]

    def usage(self) -> dict[str, dict[str, Any]]:
        return {account_id: dict(row) for account_id, row in self.snapshot().usage_rows().items()}

    def active(self) -> str | None:
        return self.snapshot().active

    def add_account(self, record: dict[str, Any]) -> None:
        at_once(self.add(record))

    def change_account(self, account_id: str, fields: Any, **options: Any) -> dict[str, Any] | None:
        record = at_once(self.change(account_id, fields, **options))
        return None if record is None else dict(record)

    def remove_account(self, account_id: str) -> bool:
        return at_once(self.remove(account_id))

    def set_usage(self, account_id: str, fields: dict[str, Any]) -> None:
        at_once(self.change_usage(account_id, fields))

    @contextlib.contextmanager
    def leased(self, name: str) -> Iterator[None]:
        """As another program holds it."""
        taken, over = threading.Event(), threading.Event()

        async def hold() -> None:
            async with self.lease(name, 600):
                taken.set()
                await asyncio.to_thread(over.wait)

        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(asyncio.run, hold())
            try:
                while not taken.wait(0.01):
                    assert not holding.done(), holding.exception()
                yield
            finally:
                over.set()
            holding.result()
