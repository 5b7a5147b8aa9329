"""Fresh tokens: ahead of time, once, and never lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.refresh import Refresher
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.tokens.answers import Answer
from kiro_auth.kiro.tokens.grants import TokenGrant, renewed
from kiro_auth.login.renewal import from_service
from kiro_auth.store import system_keyring
from kiro_auth.store.ahead import FOLDER, AheadFiles
from kiro_auth.store.apart import Apart
from kiro_auth.store.files import ACCOUNTS
from kiro_auth.store.protocol import Renewed, StoreBusy
from kiro_auth.store.system_keyring import SystemKeyring
from support.keyrings import MemoryKeyring
from support.storing import HandStore

NOW = 1_800_000_000.0
CONFIG = config.load(environment={}, folder=Path("/nowhere"))
BUFFER = CONFIG.token_expiry_buffer_ms / 1000


class SignInService:
    """Takes each refresh token once, as the real one is assumed to; `trouble` is raised instead, if any."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.trouble: Failure | None = None
        self.rotates = True

    async def refresh(self, account: Account) -> TokenGrant:
        self.asked.append(account.refresh_token)
        await asyncio.sleep(0.01)
        if self.trouble:
            raise TurnFailed(self.trouble)
        if self.rotates and self.asked.count(account.refresh_token) > 1:
            raise TurnFailed(Failure(code="KA-SIGNIN", message="The refresh token was used before."))
        number = len(self.asked)
        return TokenGrant(f"access-{number}", f"refresh-{number}" if self.rotates else None, 3600)


class Stage:
    """A store with one account, a sign-in service, and a refresher in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = HandStore(folder, folder / "locks")
        self.service = SignInService()
        self.now = NOW
        self.refresher = self.process()

    def process(self) -> Refresher:
        """What another process has: nothing in common but the store."""
        return Refresher(self.store, CONFIG, self.service.refresh, lambda: self.now)

    def add(self, expires_in: float, **fields: Any) -> Account:
        self.store.add_account(
            {
                "id": "a",
                "accessToken": "access-0",
                "refreshToken": "refresh-0",
                "expiresAt": (NOW + expires_in) * 1000,
                **fields,
            }
        )
        return self.account()

    def account(self) -> Account:
        return account_of(self.store.accounts()[0])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize(
    ("expires_in", "calls"),
    [(-9999, 1), (0, 1), (BUFFER - 1, 1), (BUFFER, 1), (BUFFER + 1, 0), (3600, 0)],
)
async def test_a_token_is_renewed_ahead_of_its_end_and_not_before(
    stage: Stage, expires_in: float, calls: int
) -> None:
    account = await stage.refresher.fresh(stage.add(expires_in))

    assert len(stage.service.asked) == calls
    assert account.access_token == f"access-{calls}"


async def test_the_new_pair_is_stored_before_it_is_used(stage: Stage) -> None:
    account = await stage.refresher.fresh(stage.add(-1, odd="kept"))

    assert stage.account() == account
    assert (account.access_token, account.refresh_token) == ("access-1", "refresh-1")
    assert account.expires_at == (NOW + 3600) * 1000
    assert account.generation == 1
    assert stage.store.accounts()[0]["odd"] == "kept"


async def test_without_a_new_refresh_token_the_old_one_stays(stage: Stage) -> None:
    stage.service.rotates = False

    account = await stage.refresher.fresh(stage.add(-1))

    assert (account.access_token, account.refresh_token) == ("access-1", "refresh-0")


async def test_many_requests_cause_one_refresh(stage: Stage) -> None:
    old = stage.add(-1)

    accounts = await asyncio.gather(*(stage.refresher.fresh(old) for _ in range(50)))

    assert stage.service.asked == ["refresh-0"]
    assert {account.access_token for account in accounts} == {"access-1"}


async def test_two_refreshers_of_one_store_cause_one_refresh(stage: Stage) -> None:
    old, other = stage.add(-1), stage.process()

    one, two = await asyncio.gather(stage.refresher.fresh(old), other.fresh(old))

    assert stage.service.asked == ["refresh-0"]
    assert one == two


PROCESS = """
import asyncio, sys, time
from pathlib import Path
from kiro_auth import config
from kiro_auth.accounts.account import account_of
from kiro_auth.accounts.refresh import Refresher
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.store.files import FileStore
folder = Path(sys.argv[1])

async def refresh(account):
    with (folder / "calls").open("a") as calls:
        calls.write(account.refresh_token + "\\n")
    await asyncio.sleep(0.3)
    return TokenGrant("access-1", "refresh-1", 3600)

async def main():
    store = FileStore(folder, folder / "locks")
    account = account_of(store.snapshot().accounts[0])
    (folder / f"ready-{sys.argv[2]}").touch()
    while len(list(folder.glob("ready-*"))) < 8:
        await asyncio.sleep(0.01)
    refresher = Refresher(store, config.load(environment={}, folder=folder), refresh)
    print((await refresher.fresh(account)).access_token)

asyncio.run(asyncio.wait_for(main(), 40))
"""


@pytest.mark.outside
def test_eight_processes_refresh_once(stage: Stage) -> None:
    """All of them read the expired token before any of them begins."""
    stage.add(-NOW)

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(stage.folder), str(number)], stdout=subprocess.PIPE, text=True
        )
        for number in range(8)
    ]
    printed = [process.communicate(timeout=200)[0] for process in processes]

    assert printed == ["access-1\n"] * 8
    assert (stage.folder / "calls").read_text() == "refresh-0\n"
    assert stage.account().generation == 1


async def test_a_request_that_leaves_does_not_end_the_refresh_of_others(stage: Stage) -> None:
    old = stage.add(-1)
    leaving = asyncio.create_task(stage.refresher.fresh(old))
    staying = asyncio.create_task(stage.refresher.fresh(old))
    await asyncio.sleep(0)

    leaving.cancel()

    assert (await staying).access_token == "access-1"
    assert leaving.cancelled()
    assert stage.service.asked == ["refresh-0"]


async def test_a_refused_token_is_renewed_whatever_its_expiry_says(stage: Stage) -> None:
    account = await stage.refresher.fresh(stage.add(3600), refused="access-0")

    assert account.access_token == "access-1"


async def test_a_refused_token_that_another_replaced_meanwhile_is_not_renewed_again(stage: Stage) -> None:
    old = stage.add(3600)
    await stage.process().fresh(old, refused="access-0")

    account = await stage.refresher.fresh(old, refused="access-0")

    assert account.access_token == "access-1"
    assert len(stage.service.asked) == 1


async def test_who_was_refused_never_gets_the_refused_token_back(stage: Stage) -> None:
    """Another request, only early, may go on with it while the sign-in service is in trouble."""
    old = stage.add(BUFFER / 2)
    stage.service.trouble = Failure(code="KA-SERVICE", message="Out of order.")

    early, refused = await asyncio.gather(
        stage.refresher.fresh(old), stage.refresher.fresh(old, refused="access-0"), return_exceptions=True
    )

    assert isinstance(early, Account)
    assert early.access_token == "access-0"
    assert isinstance(refused, TurnFailed)
    assert refused.failure.code == "KA-SERVICE"


async def test_a_dead_refresh_token_ends_in_one_call_with_the_exact_command(stage: Stage) -> None:
    old = stage.add(
        3600, authMethod="sso", ssoStartUrl="https://d-1.awsapps.com/start", region="eu-north-1", label="Work"
    )
    stage.service.trouble = Failure(code="KA-SIGNIN", message="It was revoked.")

    with pytest.raises(TurnFailed) as raised:
        await stage.refresher.fresh(old, refused="access-0")

    command = "kiro-auth login --start-url https://d-1.awsapps.com/start --region eu-north-1"
    assert raised.value.failure.next_step == f"Sign in again: {command}"
    assert raised.value.failure.account == "Work"
    assert len(stage.service.asked) == 1
    account = stage.account()
    assert (account.state, account.state_reason) == ("sign-in", "It was revoked.")
    assert (account.refresh_token, account.generation) == ("refresh-0", 0)


@pytest.mark.parametrize("code", ["KA-SERVICE", "KA-NETWORK", "KA-TIMEOUT"])
async def test_trouble_of_the_sign_in_service_costs_nothing_while_the_token_is_good(
    stage: Stage, code: str
) -> None:
    old = stage.add(BUFFER / 2)
    stage.service.trouble = Failure(code=code, message="Out of order.")

    assert (await stage.refresher.fresh(old)).access_token == "access-0"
    stage.now += BUFFER
    with pytest.raises(TurnFailed) as raised:
        await stage.refresher.fresh(old)
    stage.service.trouble, stage.service.asked = None, []
    renewed = await stage.refresher.fresh(old)

    assert raised.value.failure.code == code
    assert (renewed.access_token, renewed.state) == ("access-1", "ready")


async def test_a_renewed_token_ends_the_state_of_a_dead_sign_in(stage: Stage) -> None:
    old = stage.add(-1, state="sign-in", stateReason="It was revoked.", isHealthy=False)

    account = await stage.refresher.fresh(old)

    assert (account.state, account.state_reason) == ("ready", None)


async def test_tokens_that_cannot_be_stored_are_used_and_stored_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old refresh token is spent, so losing the new one would mean a new sign-in."""
    old = stage.add(-1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        first = await stage.refresher.fresh(old)
        assert stage.account().access_token == "access-0"
        stage.now += 3600
        second = await stage.refresher.fresh(old)
    third = await stage.refresher.fresh(stage.account())

    assert [first.access_token, second.access_token, third.access_token] == [
        "access-1",
        "access-2",
        "access-2",
    ]
    assert stage.service.asked == ["refresh-0", "refresh-1"]
    assert stage.account().refresh_token == "refresh-2"


async def test_a_new_sign_in_counts_over_tokens_that_could_not_be_stored(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stage.add(-1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        await stage.refresher.fresh(old)
    stage.store.change_account(
        "a", {"accessToken": "new", "refreshToken": "newer", "expiresAt": (NOW + 3600) * 1000}
    )

    account = await stage.refresher.fresh(stage.account())

    assert (account.access_token, account.refresh_token) == ("new", "newer")
    assert stage.account() == account


async def test_an_account_that_was_removed_meanwhile_is_not_brought_back(stage: Stage) -> None:
    old = stage.add(-1)

    async def remove_during_the_call(account: Account) -> TokenGrant:
        stage.store.remove_account("a")
        return await stage.service.refresh(account)

    refresher = Refresher(stage.store, CONFIG, remove_during_the_call, lambda: stage.now)
    for _ in range(2):
        with pytest.raises(TurnFailed, match="removed"):
            await refresher.fresh(old)

    assert stage.store.accounts() == []


# ------------------------------------------------------------- tokens that are not in the store yet


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file can be replaced; what was prepared can be written."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield


async def test_what_a_killed_process_could_not_save_is_saved_by_the_next_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stage.add(-1)
    with full_disk(monkeypatch):
        await stage.refresher.fresh(old)  # and now it is killed
    assert stage.account().refresh_token == "refresh-0"

    account = await stage.process().fresh(stage.account())

    assert (account.access_token, account.refresh_token) == ("access-1", "refresh-1")
    assert stage.account() == account
    assert stage.service.asked == ["refresh-0"]
    assert list((stage.folder / FOLDER).iterdir()) == []


async def test_an_account_that_was_taken_for_ended_meanwhile_is_ready_with_the_tokens_that_were_left(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that knows nothing of what is kept ahead tries the spent token."""
    old = stage.add(-1)
    with full_disk(monkeypatch):
        await stage.refresher.fresh(old)
    stage.store.change_account("a", {"state": "sign-in", "stateCode": "KA-SIGNIN"})

    await stage.process().recover()

    account = stage.account()
    assert (account.refresh_token, account.state, account.state_code) == ("refresh-1", "ready", None)


async def test_a_start_saves_what_killed_processes_left_though_nothing_is_due(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stage.add(-1)
    with full_disk(monkeypatch):
        await stage.refresher.fresh(old)
    ahead = AheadFiles(stage.folder / FOLDER, str(stage.folder / ACCOUNTS))
    before = set((stage.folder / FOLDER).iterdir())
    ahead.keep(Renewed("gone", "x", {"accessToken": "of an account that was removed"}))
    [gone] = set((stage.folder / FOLDER).iterdir()) - before
    os.utime(gone, (0, 0))
    (stage.folder / f".{ACCOUNTS}-abcd3fgh").write_text("half")

    await stage.process().recover()

    assert stage.account().refresh_token == "refresh-1"
    assert list((stage.folder / FOLDER).iterdir()) == []
    assert list(stage.folder.glob(".*")) == []


async def test_a_renewal_under_way_in_another_process_is_left_alone_by_a_start(stage: Stage) -> None:
    stage.add(-1)
    await stage.store.ahead.prepare("a")

    with stage.store.leased("refresh-a"):
        await stage.process().recover()

    assert len(list((stage.folder / FOLDER).iterdir())) == 1


async def test_the_end_of_the_program_saves_once_more_what_could_not_be_saved(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stage.add(-1)
    with full_disk(monkeypatch):
        await stage.refresher.fresh(old)

    await stage.refresher.close()

    assert stage.account().refresh_token == "refresh-1"


async def test_what_is_not_saved_at_the_end_is_told_and_kept_for_the_next_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = stage.add(-1)
    with full_disk(monkeypatch):
        await stage.refresher.fresh(old)
        await stage.refresher.close()

    assert "could not be saved" in caplog.text
    assert "refresh-1" not in caplog.text
    await stage.process().recover()
    assert stage.account().refresh_token == "refresh-1"


async def test_where_nothing_can_be_kept_no_token_is_spent_as_long_as_the_old_one_is_good(
    stage: Stage,
) -> None:
    old = stage.add(60)
    (stage.folder / FOLDER).write_text("in the way")

    assert (await stage.refresher.fresh(old)).access_token == "access-0"
    assert stage.service.asked == []
    (stage.folder / FOLDER).unlink()
    assert (await stage.refresher.fresh(old)).access_token == "access-1"


async def test_tokens_of_which_nothing_can_be_written_are_used_and_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = stage.add(-1)
    (stage.folder / FOLDER).write_text("in the way")

    with full_disk(monkeypatch):
        account = await stage.refresher.fresh(old)
    assert account.access_token == "access-1"
    assert "in memory only" in caplog.text
    await stage.refresher.save()

    assert stage.account().refresh_token == "refresh-1"


async def test_a_token_that_a_locked_keyring_does_not_take_is_used_told_and_put_there_once_it_opens(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_keyring, "_AGAIN_SECONDS", 0)
    keyring = MemoryKeyring()
    apart = Apart(SystemKeyring(lambda: keyring), keeps_new=lambda: True)
    stage.store = HandStore(stage.folder, stage.folder / "locks", apart)
    refresher = stage.process()
    account = stage.add(-1)
    keyring.locked = True

    assert (await refresher.fresh(account)).access_token == "access-1"

    told = refresher.unsaved()
    assert told is not None
    assert told.code == "KA-KEYRING"
    assert "cannot be put into the keyring, and is in a file till then" in told.message
    assert "Unlock it" in (told.next_step or "")
    assert "access-1" not in (stage.folder / ACCOUNTS).read_text()
    assert "access-1" in "".join(path.read_text() for path in (stage.folder / FOLDER).iterdir())

    keyring.locked = False
    await refresher.save()
    assert refresher.unsaved() is None
    assert list((stage.folder / FOLDER).iterdir()) == []
    assert stage.account().access_token == "access-1"
    assert stage.service.asked == ["refresh-0"]


@pytest.mark.parametrize("ending", ["refused", "broken", "cancelled"])
async def test_a_renewal_that_brings_nothing_leaves_nothing(stage: Stage, ending: str) -> None:
    old = stage.add(60, refreshToken="refresh-0")
    endings: dict[str, BaseException] = {
        "refused": TurnFailed(Failure(code="KA-NETWORK", message="No way.")),
        "broken": ZeroDivisionError(),
        "cancelled": asyncio.CancelledError(),
    }

    async def refresh(_: Account) -> TokenGrant:
        raise endings[ending]

    with contextlib.suppress(ZeroDivisionError, asyncio.CancelledError):
        await Refresher(stage.store, CONFIG, refresh, lambda: stage.now).fresh(old)

    assert list((stage.folder / FOLDER).iterdir()) == []


ODD: list[Any] = [None, "", 5, {}, "a\r\nb: c", "t\x00", "tökén", "\x1b[31m"]


@pytest.mark.parametrize(
    "odd", [{"expiresIn": value} for value in (1e308, -1, "NaN", {}, None, "1e308", 10**400)]
)
async def test_new_tokens_are_kept_whatever_the_answer_says_of_their_life(
    stage: Stage, odd: dict[str, Any]
) -> None:
    stage.add(-1)
    answer = Answer("oidc.example", {"accessToken": "a1", "refreshToken": "r1", **odd})

    async def refresh(_: Account) -> TokenGrant:
        return renewed(answer)

    await Refresher(stage.store, CONFIG, refresh, lambda: stage.now).fresh(stage.account())

    account = stage.account()
    assert (account.access_token, account.refresh_token) == ("a1", "r1")
    assert account.expires_at == (NOW + 3600) * 1000


@pytest.mark.parametrize("access", ODD)
async def test_a_new_refresh_token_is_kept_though_the_access_token_with_it_cannot_be_used(
    stage: Stage, access: Any
) -> None:
    """The old one is spent: what is thrown away here is a sign-in."""
    stage.add(-1)
    answers = [{"accessToken": access, "refreshToken": "r1"}, {"accessToken": "a2", "refreshToken": "r2"}]
    spent = []

    async def refresh(account: Account) -> TokenGrant:
        spent.append(account.refresh_token)
        return renewed(Answer("oidc.example", answers[len(spent) - 1]))

    refresher = Refresher(stage.store, CONFIG, refresh, lambda: stage.now)
    with pytest.raises(TurnFailed) as raised:
        await refresher.fresh(stage.account())
    assert raised.value.failure.code == "KA-SERVICE"
    assert stage.account().refresh_token == "r1"

    assert (await refresher.fresh(stage.account())).access_token == "a2"
    assert spent == ["refresh-0", "r1"]


async def test_a_stored_token_that_no_header_can_hold_is_renewed(stage: Stage) -> None:
    stage.add(3600, accessToken="access\r\nx-evil: 1")

    account = await stage.refresher.fresh(stage.account())

    assert account.access_token == "access-1"
    assert stage.account() == account


async def test_an_api_key_is_never_renewed(stage: Stage) -> None:
    account = stage.add(-1, authMethod="api-key")

    assert await stage.refresher.fresh(account, refused="access-0") == account
    assert stage.service.asked == []


async def test_closing_does_not_wait_for_a_lease_that_another_program_holds(stage: Stage) -> None:
    old = stage.add(-1)

    with stage.store.leased("refresh-a"):
        asking = asyncio.create_task(stage.refresher.fresh(old))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(20):  # a third of what a token would be waited for
            await stage.refresher.close()
        with pytest.raises(StoreBusy, match="ends while another one renews"):
            await asking
    assert stage.service.asked == []


async def test_a_token_that_is_good_still_is_used_while_another_program_holds_the_lease(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, refused = stage.add(BUFFER / 2), "access-0"

    with stage.store.leased("refresh-a"):
        async with asyncio.timeout(20):  # a third of what a token would be waited for
            assert (await stage.refresher.fresh(early)).access_token == "access-0"
        monkeypatch.setattr("kiro_auth.accounts.refresh._WAIT_SECONDS", 0.1)
        with pytest.raises(StoreBusy):
            await stage.refresher.fresh(early, refused=refused)


async def test_a_refused_renewal_says_nothing_of_who_signed_in_or_was_disabled_meanwhile(
    stage: Stage,
) -> None:
    old = stage.add(-1)
    meanwhile: list[dict[str, Any]] = [{"state": "disabled"}, {"refreshToken": "newer", "state": "ready"}]

    async def refused(_: Account) -> TokenGrant:
        stage.store.change_account("a", meanwhile.pop(0))
        raise TurnFailed(Failure(code="KA-SIGNIN", message="It was revoked."))

    refresher = Refresher(stage.store, CONFIG, refused, lambda: stage.now)
    for state in ("disabled", "ready"):
        with pytest.raises(TurnFailed, match="revoked"):
            await refresher.fresh(old)
        assert stage.account().state == state


async def test_an_identity_provider_that_cannot_be_read_needs_a_new_sign_in(stage: Stage) -> None:
    old = stage.add(-1, authMethod="external-idp", kiroAuth={"provider": {"token_endpoint": 5}})
    async with Lines(Trust()) as lines:
        refresher = Refresher(stage.store, CONFIG, from_service(lines, Endpoints()), lambda: stage.now)
        with pytest.raises(TurnFailed, match=r"provider cannot be read.*Sign in again") as raised:
            await refresher.fresh(old)

    assert raised.value.failure.code == "KA-SIGNIN"
    assert stage.account().state == "sign-in"
