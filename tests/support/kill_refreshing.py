"""Kills a process that renews a token, at random moments, again and again; prints what became of the file.

Arguments: the folder of the store, the address of a simulator, how many times, the seed.  Each round an
expired sign-in is renewed by a child that is killed, then by one that is not.  Every second child is killed
between the service's answer and its end, the others at any moment of their life; how long both take on this
machine, as busy as it is, is seen by those that nobody kills.
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
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.refresh import Refresher
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.login.renewal import from_service
from support.programs import Simulator
from support.storing import HandStore

ACCOUNT = "a" * 32
FRESH, SIGN_IN, OTHER = 0, 1, 2
"""Exit codes of a child: it has a token, it was told to sign in again, anything else."""


async def renew(folder: Path, answered: int) -> int:
    """Tells by one byte that the answer of the service is in the hands of what is to be tested."""
    config = configuration.load(folder=folder)
    store = HandStore(folder, folder / "locks")
    async with Lines(Trust()) as lines:
        ask = from_service(lines, Endpoints(config.endpoints))

        async def refresh(account: Account) -> TokenGrant:
            grant = await ask(account)
            os.write(answered, b".")
            return grant

        refresher = Refresher(store, config, refresh)
        try:
            await refresher.fresh(account_of(store.accounts()[0]))
        except TurnFailed as error:
            return SIGN_IN if error.failure.code == "KA-SIGNIN" else OTHER
    return FRESH


def child(folder: Path) -> tuple[int, int]:
    """Its process id, and where it tells that it was answered."""
    answered, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            code = asyncio.run(renew(folder, tell))
        except BaseException:
            code = OTHER
        os._exit(code)
    os.close(tell)
    return pid, answered


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def renewed(folder: Path) -> tuple[int, float, float]:
    """The exit code of a child that nobody kills, and the seconds until its answer and from there on."""
    began = time.monotonic()
    pid, answered = child(folder)
    os.read(answered, 1)  # or it ends without
    between = time.monotonic()
    code = exit_code(pid)
    os.close(answered)
    return code, between - began, time.monotonic() - between


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
    code, before_it, after_it = renewed(folder)
    assert code == FRESH
    for number in range(rounds):
        sign_in(folder, simulator)
        record, asked = held(folder), len(simulator.calls("CreateToken"))
        pid, answered = child(folder)
        was_answered = number % 2 == 1 and os.read(answered, 1) == b"."
        time.sleep(chance.uniform(0, after_it if was_answered else 1.2 * (before_it + after_it)))
        os.kill(pid, signal.SIGKILL)
        killed = exit_code(pid) == -signal.SIGKILL
        was_answered = was_answered or os.read(answered, 1) == b"."
        os.close(answered)
        after = held(folder)
        spent = len(simulator.calls("CreateToken")) > asked
        code, *took = renewed(folder)
        held(folder)
        if code == SIGN_IN:
            # Only a token that was spent, and whose successor died with the process, is lost.
            assert spent
            assert after["refreshToken"] == record["refreshToken"]
            assert held(folder)["state"] == "sign-in"
            found["lost and said so"] += 1
            found["lost with the answer in hand"] += was_answered
        else:
            assert code == FRESH
            found["renewed by the next"] += 1
            before_it, after_it = took

        found["killed in time"] += killed
        found["killed with the answer in hand"] += killed and was_answered
    return found


if __name__ == "__main__":
    _, folder, url, rounds, seed = sys.argv
    found = main(Path(folder), Simulator(url), int(rounds), random.Random(int(seed)))
    sys.stdout.write(json.dumps(found))
