"""What one gateway keeps of the turns' credits: wires the ledger to its file and its troubles to notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import Failure
from kiro_auth.ledger.writer import File, Ledger


class Accounting:
    """`file` is the ledger's, None for a gateway that keeps none.

    `on_trouble` hears of what people should know.
    """

    def __init__(self, config: Config, file: Path | None, *, on_trouble: Callable[[Failure], None]) -> None:
        self._on_trouble = on_trouble
        self._loop = asyncio.get_running_loop()
        self._ledger = self._ledger_at(file, config) if config.ledger and file else None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who are to hear of every turn."""
        return (self._ledger,) if self._ledger else ()

    async def close(self) -> None:
        """Write down what is in memory only."""
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.close)

    def _ledger_at(self, file: Path, config: Config) -> Ledger:
        def open_file() -> File:
            from kiro_auth.ledger.sqlite import SqliteFile  # in the writer's thread, after the start

            return SqliteFile(file)

        return Ledger(open_file, with_projects=config.ledger_projects, on_trouble=self._tell)

    def _tell(self, failure: Failure) -> None:
        """Called in the writer's thread."""
        with contextlib.suppress(RuntimeError):  # the gateway has ended
            self._loop.call_soon_threadsafe(self._on_trouble, failure)
