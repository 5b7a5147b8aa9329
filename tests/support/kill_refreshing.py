"""Kills a process that renews a token, at random moments, again and again; prints what became of the file.

Arguments: the folder of the store, the address of a simulator, how many times, the seed.  Each round an
expired sign-in is renewed by a child that is killed, then by one that is not.  Every second child is killed
between the service's answer and its end, the others at any moment of their life; how long both take on this
machine, as busy as it is, is seen by those that nobody kills.

How many sign-ins are lost is a matter of luck.  What holds always is held here: nothing else runs between the
service's answer and the writing down of what it gave, and what was written down is never lost.
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
from collections.abc import Callable
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
from kiro_auth.store.protocol import Renewed
from support.programs import Simulator
from support.storing import HandStore

ACCOUNT = "a" * 32
FRESH, SIGN_IN, OTHER = 0, 1, 2
"""Exit codes of a child: it has a token, it was told to sign in again, anything else."""
ANSWERED, KEPT = b"a", b"k"
"""What a child tells: the service's answer has come, and what it gave is written down."""


async def renew(folder: Path, tell: int) -> int:
    config = configuration.load(folder=folder)
    store = HandStore(folder, folder / "locks")
    others_ran = asyncio.Event()
    async with Lines(Trust()) as lines:
        ask = from_service(lines, Endpoints(config.endpoints))

        async def refresh(account: Account) -> TokenGrant:
            grant = await ask(account)
            os.write(tell, ANSWERED)
            asyncio.get_running_loop().call_soon(others_ran.set)
            return grant

        def keep(renewed: Renewed, really_keep: Callable[[Renewed], None] = store.ahead.keep) -> None:
            assert not others_ran.is_set(), "something was waited for before the new token was written down"
            really_keep(renewed)
            os.write(tell, KEPT)

        store.ahead.keep = keep  # type: ignore[method-assign]
        refresher = Refresher(store, config, refresh)
        try:
            await refresher.fresh(account_of(store.accounts()[0]))
        except TurnFailed as error:
            return SIGN_IN if error.failure.code == "KA-SIGNIN" else OTHER
    return FRESH


def child(folder: Path) -> tuple[int, int]:
    """Its process id, and where it tells how far it came."""
    told_by_it, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            code = asyncio.run(renew(folder, tell))
        except BaseException:
            code = OTHER
        os._exit(code)
    os.close(tell)
    return pid, told_by_it


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def renewed(folder: Path) -> tuple[int, float, float]:
    """The exit code of a child that nobody kills, and the seconds until its answer and from there on."""
    began = time.monotonic()
    pid, told_by_it = child(folder)
    os.read(told_by_it, 1)  # or it ends without
    between = time.monotonic()
    code = exit_code(pid)
    os.close(told_by_it)
    return code, between - began, time.monotonic() - between


def killed(folder: Path, at_answer: bool, seconds: float) -> tuple[bool, bytes]:
    """Whether a child was killed in time, so long after its start or its answer, and what it had told."""
    pid, told_by_it = child(folder)
    told = os.read(told_by_it, 1) if at_answer else b""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    in_time = exit_code(pid) == -signal.SIGKILL
    told += os.read(told_by_it, 2)
    os.close(told_by_it)
    return in_time, told


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
        at_answer = number % 2 == 1
        longest = after_it if at_answer else 1.2 * (before_it + after_it)
        in_time, told = killed(folder, at_answer, chance.uniform(0, longest))
        after = held(folder)
        code, *took = renewed(folder)
        held(folder)
        if code == SIGN_IN:
            # Only a token that was spent, and whose successor died with the process, is lost.
            assert in_time
            assert KEPT not in told
            assert len(simulator.calls("CreateToken")) >= asked + 2
            assert after["refreshToken"] == record["refreshToken"]
            assert held(folder)["state"] == "sign-in"
            found["lost and said so"] += 1
        else:
            assert code == FRESH
            found["renewed by the next"] += 1
            before_it, after_it = took

        found["killed in time"] += in_time
        found["killed with the answer in hand"] += in_time and ANSWERED in told
        found["killed with the new token written down"] += in_time and KEPT in told
    return found


if __name__ == "__main__":
    _, folder, url, rounds, seed = sys.argv
    found = main(Path(folder), Simulator(url), int(rounds), random.Random(int(seed)))
    sys.stdout.write(json.dumps(found))
