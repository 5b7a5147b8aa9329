"""Renews an account whose tokens are in the keyring, again and again, until it is killed: see test_keyring.

Prints the number of each new token once it is written ahead: from then on it may not be lost.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kiro_auth.store.apart import Apart
from kiro_auth.store.files import FileStore
from kiro_auth.store.protocol import Renewed
from kiro_auth.store.system_keyring import SystemKeyring


def opened(folder: Path) -> FileStore:
    return FileStore(folder, folder / "locks", Apart(SystemKeyring(), keeps_new=lambda: True))


async def recovered(store: FileStore, account_id: str) -> int:
    """The number of the newest token, after what a killed process left was saved."""
    kept = await store.ahead.kept(account_id)
    if kept is not None:
        await store.change(account_id, kept.fields, if_unchanged={"refreshToken": kept.spent})
    store.ahead.forget(account_id)
    record = (await store.load()).record(account_id)
    assert record is not None
    return int(record["refreshToken"].rpartition("-")[2])


async def renew(store: FileStore, account_id: str) -> None:
    async with store.lease(f"refresh-{account_id}", 60, wait=10):
        number = await recovered(store, account_id)
        while True:
            await store.ahead.prepare(account_id)
            spent, new = f"refresh-{number}", f"refresh-{number + 1}"
            store.ahead.keep(Renewed(account_id, spent, {"refreshToken": new, "accessToken": new}))
            sys.stdout.write(f"{number + 1}\n")
            sys.stdout.flush()
            after = await store.change(
                account_id, {"refreshToken": new, "accessToken": new}, if_unchanged={"refreshToken": spent}
            )
            assert after is not None
            assert after["refreshToken"] == new
            store.ahead.forget(account_id)
            number += 1


if __name__ == "__main__":
    asyncio.run(renew(opened(Path(sys.argv[1])), "a"))
