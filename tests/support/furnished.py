"""A home with an account in each state and a month of turns, for those who look at the dashboard."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from kiro_auth.ledger.local import FILE
from kiro_auth.ledger.row import Row
from kiro_auth.ledger.sqlite import SqliteFile
from kiro_auth.store.files import FileStore
from support.programs import Home, Simulator

_DAY: Final = 86400.0
_MODELS: Final = (("claude-sonnet-4.5", 0.3), ("claude-opus-4.6", 0.9), ("claude-haiku-4.5", 0.1))
"""With roughly what a turn of each costs."""
HOSTILE: Final = '<img src=x onerror="document.title=1">'
"""What a person could call an account to break a page."""


def accounts(simulator: Simulator, now: float) -> list[dict[str, Any]]:
    """A record for each state; only the first two can be used, with tokens that the simulator knows."""
    until = round((now + 1800) * 1000)
    signed_in = simulator.ask("sign-in", {"user": "ada@example.com"})
    works = {
        "authMethod": "builder-id",
        "region": "us-east-1",
        "accessToken": signed_in["accessToken"],
        "refreshToken": signed_in["refreshToken"],
        "clientId": signed_in["clientId"],
        "clientSecret": signed_in["clientSecret"],
        "expiresAt": round((now + 3000) * 1000),
    }
    fake = {**works, "accessToken": "fake", "refreshToken": "fake"}
    of_day, of_month = round((now + 20 * 3600) * 1000), round((now + 6 * _DAY) * 1000)
    return [
        {**works, "id": "ready", "label": "Ada, private"},
        {**fake, "id": "throttled", "label": "Grace", "state": "cooling", "stateCode": "KA-THROTTLE",
         "stateReason": "Kiro asks the account to slow down.", "stateUntil": until,
         "stateUntilStated": True},
        {**fake, "id": "paused", "label": "Limited", "state": "cooling", "stateCode": "KA-ACTIVITY",
         "stateReason": "Kiro sees unusual activity and limits the account.", "stateUntil": of_day,
         "stateUntilStated": False},
        {**fake, "id": "quota", "label": "Work", "state": "quota", "stateCode": "KA-QUOTA",
         "stateReason": "The account's plan limit is used up.", "stateUntil": of_month,
         "stateUntilStated": True},
        {**fake, "id": "suspended", "label": HOSTILE, "state": "suspended", "stateCode": "KA-SUSPENDED",
         "stateReason": "AWS has locked the account."},
        {**fake, "id": "signed-out", "label": "Old laptop", "state": "sign-in", "stateCode": "KA-SIGNIN",
         "stateReason": "The sign-in of the account has ended."},
        {**fake, "id": "disabled", "label": "Spare", "state": "disabled",
         "stateReason": "switched off by you"},
    ]  # fmt: skip


def furnish(home: Home, simulator: Simulator, now: float, *, only: Collection[str] | None = None) -> None:
    """Put the accounts (`only` these), what they have used, and the turns of a month in place."""
    store = FileStore(home.config, home.state / "locks")
    used = {"ready": (618.4, 1000), "throttled": (240.25, 1000), "quota": (1000, 1000), "disabled": (3, 50)}
    reset = round((now + 6 * _DAY) * 1000)

    async def put() -> None:
        for record in accounts(simulator, now):
            if only is not None and record["id"] not in only:
                continue
            await store.add(record)
            if record["id"] in used:
                spent, limit = used[record["id"]]
                parts = [
                    {"kind": "plan", "resource": "CREDIT", "used": spent, "limit": limit, "endsAt": reset}
                ]
                row = {
                    "usedCount": spent,
                    "limitCount": limit,
                    "resetAt": reset,
                    "plan": "KIRO PRO",
                    "parts": parts,
                }
                await store.change_usage(
                    record["id"], {**row, "lastSync": round(now * 1000), "lastTurnCredits": 0.42}
                )

    # Playwright's own event loop runs in the test's thread.
    thread = threading.Thread(target=lambda: asyncio.run(put()))
    thread.start()
    thread.join()
    fill_ledger(home.state / FILE, now)


def fill_ledger(path: Path, now: float) -> list[Row]:
    """A month of turns, the same at every run; what was written."""
    chance = random.Random(1)
    rows = []
    for back in range(30):
        for _ in range(chance.choice((0, 9, 14, 22, 25))):
            model, factor = chance.choice(_MODELS)
            rows.append(
                turn(
                    now - back * _DAY - chance.random() * 600,
                    model=model,
                    metered=factor * (0.5 + chance.random()),
                    project=chance.choice(("shop", "blog", "infra")),
                    client=chance.choice(("opencode", "claude-cli")),
                )
            )
    for number, code in enumerate(("KA-THROTTLE", "KA-CAPACITY", "KA-QUOTA", "KA-OVERFLOW")):
        rows.append(turn(now - 600 - number * 5000, model="claude-opus-4.6", outcome=code))
    rows.sort(key=lambda row: row.when)
    file = SqliteFile(path, clock=lambda: now)
    file.add(rows)
    file.close()
    return rows


def turn(
    when: float, *, model: str, metered: float | None = None, project: str | None = None,
    client: str = "opencode", outcome: str = "answered",
) -> Row:  # fmt: skip
    """One row of the ledger."""
    return Row(
        when=when, caller="owner", client=client, session="s", project=project, surface="/v1/messages",
        kind=None, model_asked=model, model=model, account="ready", account_name="Ada, private",
        credits=metered, input_tokens=900, input_source="estimated", output_tokens=80,
        output_source="estimated", first_byte=0.8, seconds=4.0, attempts=(), repairs=(), outcome=outcome,
        request_id="req_0123456789",
    )  # fmt: skip
