"""Takes places of a SQLite store in the folder given, and says so; holds them until it is ended.

Arguments: the folder, the name, the limit, how many it tries to take.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kiro_auth.store.sqlite import SqliteStore
from kiro_auth.store.written import Writing


async def main(folder: Path, name: str, limit: int, times: int) -> None:
    store = SqliteStore(folder, folder / "locks", Writing(None))
    taken = [await store.places.take(name, limit) for _ in range(times)]
    sys.stdout.write(f"{sum(taken)}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
