"""Kills a process that renews a token, at random moments, again and again; prints what became of the file.

Arguments: the folder of the store, the address of a simulator, how many times, the seed.  Each round an
expired sign-in is renewed by a child that is killed, then by one that is not.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from kiro_auth import config as configuration
from kiro_auth.accounts.account import account_of
from kiro_auth.accounts.refresh import Refresher
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.connections import open_session
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.login.renewal import from_service
from support.programs import Simulator
from support.storing import HandStore

ACCOUNT = "a" * 32
FRESH, SIGN_IN, OTHER = 0, 1, 2
"""Exit codes of a child: it has a token, it was told to sign in again, anything else."""


async def renew(folder: Path) -> int:
    config = configuration.load(folder=folder)
    store = HandStore(folder, folder / "locks")
    async with open_session() as http:
        refresher = Refresher(store, config, from_service(http, Endpoints(config.endpoints)))
        try:
            await refresher.fresh(account_of(store.accounts()[0]))
        except TurnFailed as error:
            return SIGN_IN if error.failure.code == "KA-SIGNIN" else OTHER
    return FRESH


def child(folder: Path) -> int:
    """Its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            code = asyncio.run(renew(folder))
        except BaseException:
            code = OTHER
        os._exit(code)
    return pid


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def held(folder: Path) -> dict[str, object]:
    """The account as it stands in the file, which must be whole."""
    document = json.loads((folder / "kiro-accounts.json").read_text())
    [account] = document["accounts"]
    assert account["id"] == ACCOUNT
    assert account["refreshToken"]
    return account


def sign_in(folder: Path, simulator: Simulator) -> None:
    tokens = simulator.ask("sign-in", {"user": "ada@example.com"})
    names = ("accessToken", "refreshToken", "clientId", "clientSecret", "region")
    fields = {name: tokens[name] for name in names} | {"expiresAt": 1, "state": "ready"}
    store = HandStore(folder, folder / "locks")
    if store.change_account(ACCOUNT, fields) is None:
        store.add_account({"id": ACCOUNT, **fields})


def main(folder: Path, simulator: Simulator, rounds: int, chance: random.Random) -> Counter[str]:
    found: Counter[str] = Counter()
    sign_in(folder, simulator)
    began = time.monotonic()
    assert exit_code(child(folder)) == FRESH
    usual = time.monotonic() - began
    for _ in range(rounds):
        sign_in(folder, simulator)
        before, asked = held(folder), len(simulator.calls("CreateToken"))
        pid = child(folder)
        time.sleep(chance.uniform(0, 1.2 * usual))
        os.kill(pid, signal.SIGKILL)
        killed = exit_code(pid) == -signal.SIGKILL
        after = held(folder)
        spent = len(simulator.calls("CreateToken")) > asked
        code = exit_code(child(folder))
        held(folder)
        if code == SIGN_IN:
            # Only a token that was spent, and whose successor died with the process, is lost.
            assert spent
            assert after["refreshToken"] == before["refreshToken"]
            assert held(folder)["state"] == "sign-in"
            found["lost and said so"] += 1
        else:
            assert code == FRESH
            found["renewed by the next"] += 1
        found["killed in time"] += killed
    return found


if __name__ == "__main__":
    _, folder, url, rounds, seed = sys.argv
    found = main(Path(folder), Simulator(url), int(rounds), random.Random(int(seed)))
    sys.stdout.write(json.dumps(found))
