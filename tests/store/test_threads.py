"""The event loop waits for no file: what waits is in threads, and those of the store are the store's own."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

import kiro_auth
from support.storing import HandStore

SOURCE = Path(kiro_auth.__file__).parent
ELSEWHERE = {
    "cli/serve.py": "the last traces are sent",
    "cli/sign_in.py": "a browser is started",
    "dashboard/oidc/entrance.py": "the library is imported, and the secret's file read",
    "dashboard/pages.py": "the ledger",
    "dashboard/site.py": "the ledger",
    "gateway/app.py": "whether the accounts can be read",
    "gateway/body.py": "a packed body is unpacked",
    "gateway/http/library.py": "the pages' library is imported",
    "gateway/key_spending.py": "the ledger",
    "gateway/me.py": "the ledger",
    "gateway/serve.py": "the rest of the gateway is imported",
    "gateway/reloading.py": "the options are read anew",
    "ledger/local.py": "the ledger",
    "kiro/edge/trust.py": "the certificates of the machine are read",
    "login/device_flow.py": "a person chooses a profile",
    "login/page.py": "the system is asked whose a connection is",
    "login/tools/linked.py": "the stores of other programs",
    "off_loop.py": "a large request is decoded and built",
    "report/programs.py": "other programs are asked for their versions",
}
"""Where else a thread waits, and for what: nothing of it is this program's store."""


def test_only_the_store_has_threads_for_the_store() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"to_thread|run_in_executor|ThreadPool", path.read_text())
    }
    assert {name for name in found if not name.startswith("store/")} == ELSEWHERE.keys()
    locking = {path.name for path in SOURCE.rglob("*.py") if "import FileLock" in path.read_text()}
    assert locking == {
        "locks.py",
        "discovery.py",  # the gateway's seat
        "kept_address.py",  # its port and key
        "files.py",  # client keys
        "spool.py",  # turns on their way to a database
        "log_file.py",  # only one process puts the full log away; nobody waits for it
    }


@pytest.mark.slow
async def test_the_loop_goes_on_while_another_program_holds_files_and_leases(tmp_path: Path) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    store.add_account({"id": "a"})
    longest, last = 0.0, time.monotonic()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    async def take() -> None:
        async with store.lease("work", 60, wait=10):
            pass

    watching = asyncio.create_task(watch())
    with store.leased("kiro-accounts"), store.leased("work"):
        last = time.monotonic()
        waiting = [asyncio.create_task(store.change("a", {"n": n})) for n in range(3)]
        waiting += [asyncio.create_task(take()) for _ in range(3)]  # type: ignore[arg-type]
        await asyncio.sleep(1.5)
        watching.cancel()
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)

    assert longest < 8  # it would stand still until it gives up, after ten seconds or more
