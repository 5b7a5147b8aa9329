"""Stored sign-ins: one account for each person at each place, and nothing lost."""

import stat
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.accounts.account import Account, Source, account_of
from kiro_auth.accounts.registry import SignedIn, admit
from kiro_auth.accounts.roster import readable
from kiro_auth.failures import StoreFailed
from kiro_auth.kinds import BUILDER_ID_START_URL, Kind
from support.examples import examples
from support.storing import HandStore, at_once

NOW = 1_800_000_000.0
START_URL = "https://d-1234567890.awsapps.com/start"
ARN = "arn:aws:codewhisperer:eu-central-1:1:profile/A"


ANN = {"user_id": "user", "real_email": "ann@example.org", "plan": "KIRO PRO"}
NOBODY = {"user_id": None, "real_email": None, "plan": None}
NEW_TOKENS = {"access_token": "access-2", "refresh_token": "refresh-2", "expires_at": NOW + 60}
NO_PROFILE = {"profile_arn": None, "profile_region": None, "profile_name": None}
numbers = count(1)


def signed_in(kind: Kind = "builder-id", **changed: Any) -> SignedIn:
    """A sign-in of Ann's with a refresh token that no other has."""
    organisation = kind == "idc"
    profile = {"profile_arn": ARN, "profile_region": "eu-central-1", "profile_name": "team"}
    fields: dict[str, Any] = {
        "kind": kind,
        "start_url": START_URL if organisation else BUILDER_ID_START_URL,
        "region": "eu-north-1" if organisation else "us-east-1",
        "client_id": "client",
        "client_secret": "secret",
        "client_secret_expires_at": NOW + 1000,
        "access_token": "access",
        "refresh_token": f"refresh of sign-in {next(numbers)}",
        "expires_at": NOW + 3600,
        **(profile if organisation else {}),
        **ANN,
    }
    return SignedIn(**(fields | changed))


def keep(store: HandStore, signed_in: SignedIn) -> Account:
    return at_once(admit(store, signed_in, NOW)).account


@pytest.fixture
def store(tmp_path) -> HandStore:
    return HandStore(tmp_path, tmp_path / "locks")


def only(store: HandStore) -> dict[str, Any]:
    (record,) = store.accounts()
    return record


# ------------------------------------------------------------------------------------ a new account


def test_a_builder_id_is_stored_as_the_original_stores_it(store):
    account = keep(store, signed_in(refresh_token="refresh"))
    record = only(store)
    assert account == account_of(record)
    assert record == {
        "id": account.id,
        "email": "ann@example.org",
        "realEmail": "ann@example.org",
        "authMethod": "idc",  # the original's word for Builder ID
        "region": "us-east-1",
        "clientId": "client",
        "clientSecret": "secret",
        "clientSecretExpiresAt": (NOW + 1000) * 1000,
        "accessToken": "access",
        "refreshToken": "refresh",
        "expiresAt": (NOW + 3600) * 1000,
        "rateLimitResetTime": 0,
        "isHealthy": True,
        "state": "ready",
        "stateSince": NOW * 1000,
        "generation": 0,
        "kiroAuth": {"userId": "user", "plan": "KIRO PRO"},
    }
    assert len(account.id) == 32


def test_an_organisation_s_account_keeps_where_it_signs_in_and_where_it_is_served(store):
    account = keep(store, signed_in("idc"))
    assert (account.kind, account.auth_method, account.sso_start_url) == ("idc", "sso", START_URL)
    assert (account.region, account.service_region) == ("eu-north-1", "eu-central-1")
    assert (account.profile_arn, account.profile_name) == (ARN, "team")


@pytest.mark.parametrize(
    ("kind", "email"), [("builder-id", "builder-id@aws.amazon.com"), ("idc", "sso-user@aws.amazon.com")]
)
def test_where_no_e_mail_is_known_the_original_s_placeholder_stands(store, kind, email):
    account = keep(store, signed_in(kind, **NOBODY))
    assert (account.email, account.real_email) == (email, None)


def test_an_account_without_a_profile_is_kept_and_says_why(store):
    account = keep(
        store, signed_in("idc", **NO_PROFILE, refresh_token="refresh", no_profile="no Kiro profile assigned")
    )
    assert account.refresh_token == "refresh"
    assert (account.profile_arn, account.state_reason) == (None, "no Kiro profile assigned")


def test_the_file_is_for_its_owner_only(store, tmp_path):
    keep(store, signed_in())
    assert stat.S_IMODE((tmp_path / "kiro-accounts.json").stat().st_mode) == 0o600


# ------------------------------------------------------------------------------ the same or another


def test_the_same_person_signs_in_again_and_has_one_account_with_the_new_tokens(store):
    first = keep(store, signed_in())
    second = keep(
        store,
        signed_in(
            **NEW_TOKENS, client_id="client-2", client_secret="secret-2", client_secret_expires_at=None
        ),
    )
    record = only(store)
    assert second == account_of(record)
    assert (second.id, second.label, second.generation) == (first.id, first.label, 1)
    assert (second.access_token, second.refresh_token) == ("access-2", "refresh-2")
    assert (second.client_id, second.client_secret) == ("client-2", "secret-2")
    assert second.expires_at == (NOW + 60) * 1000
    assert "clientSecretExpiresAt" not in record  # it was the old registration's


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(signed_in(), signed_in(**NOBODY | {"user_id": "other"}), id="another person"),
        pytest.param(signed_in(), signed_in(user_id="other"), id="with the same e-mail"),
        pytest.param(signed_in(), signed_in("idc"), id="another kind"),
        pytest.param(
            signed_in("idc"),
            signed_in("idc", start_url="https://d-2.awsapps.com/start"),
            id="another organisation",
        ),
        pytest.param(signed_in(**NOBODY), signed_in(**NOBODY), id="who they are is unknown"),
    ],
)
def test_anybody_else_gets_an_account_of_their_own(store, first, second):
    assert keep(store, first).id != keep(store, second).id
    named, _ = readable(store.accounts())
    assert len({account.name for account in named}) == 2


@pytest.mark.parametrize("suffix", ["/", "#/", "/#/device", "#"])
def test_spellings_of_a_start_url_are_one_place(store, suffix):
    first = keep(store, signed_in("idc"))
    assert keep(store, signed_in("idc", start_url=START_URL.upper() + suffix)).id == first.id


def test_an_account_of_the_original_is_recognised_by_the_e_mail_that_the_service_gave(store):
    store.add_account(
        {"id": "old", "authMethod": "idc", "email": "x@example.org", "realEmail": "ann@example.org"}
    )
    assert keep(store, signed_in()).id == "old"
    assert only(store)["kiroAuth"] == {"userId": "user", "plan": "KIRO PRO"}


def test_a_user_id_tells_more_than_an_e_mail(store):
    keep(store, signed_in(user_id=None))
    second = keep(store, signed_in(real_email=None))
    assert keep(store, signed_in()).id == second.id


def test_an_e_mail_that_the_service_did_not_give_is_nobody_s_mark(store):
    store.add_account({"id": "old", "authMethod": "idc", "email": "ann@example.org"})
    assert keep(store, signed_in()).id != "old"


def test_a_damaged_record_is_left_alone(store):
    store.add_account({"id": "old", "authMethod": ["?"], "realEmail": "ann@example.org"})
    keep(store, signed_in())
    assert store.accounts()[0] == {"id": "old", "authMethod": ["?"], "realEmail": "ann@example.org"}


def test_what_a_new_sign_in_does_not_know_stays(store):
    first = keep(store, signed_in("idc"))
    store.change_account(first.id, {"foreign": 1, "kiroAuth": {"userId": "user", "plan": "X", "mine": 2}})
    again = keep(store, signed_in("idc", real_email=None, plan=None, **NO_PROFILE))
    record = only(store)
    assert record["foreign"] == 1
    assert record["kiroAuth"] == {"userId": "user", "plan": "X", "mine": 2}
    assert (again.profile_arn, again.email) == (ARN, "ann@example.org")


# --------------------------------------------------------------------------------------- its state


@pytest.mark.parametrize("state", ["sign-in", "cooling", "quota"])
def test_a_new_sign_in_makes_the_account_ready(store, state):
    account = keep(store, signed_in())
    trouble = {
        "state": state,
        "stateCode": "KA-SIGNIN",
        "stateReason": "x",
        "stateUntil": 1,
        "isHealthy": False,
        "unhealthyReason": "x",
        "recoveryTime": 1,
        "rateLimitResetTime": 1,
    }
    store.change_account(account.id, trouble)
    keep(store, signed_in())
    record = only(store)
    assert {name: record.get(name) for name in trouble} == {
        "state": "ready",
        "stateCode": None,
        "stateReason": None,
        "stateUntil": None,
        "isHealthy": True,
        "unhealthyReason": None,
        "recoveryTime": None,
        "rateLimitResetTime": 0,
    }


@pytest.mark.parametrize("state", ["suspended", "disabled"])
def test_what_has_a_command_of_its_own_is_not_ended_by_signing_in(store, state):
    account = keep(store, signed_in())
    store.change_account(account.id, {"state": state, "stateReason": "x", "isHealthy": False})
    again = keep(store, signed_in(**NEW_TOKENS))
    assert (again.state, again.state_reason, again.refresh_token) == (state, "x", "refresh-2")
    assert only(store)["isHealthy"] is False


# -------------------------------------------------------------------------------------------- names


def test_nobody_gets_a_label_that_they_did_not_give(store):
    keep(store, signed_in())
    assert "label" not in only(store)


def test_an_account_is_told_with_the_name_that_it_has_among_the_others(store):
    assert keep(store, signed_in()).name == "a***@example.org"
    assert keep(store, signed_in("idc")).name == "a***@example.org (d-1234567890)"
    assert keep(store, signed_in()).name == "a***@example.org (Builder ID)"


people = st.builds(
    signed_in,
    st.sampled_from(["builder-id", "idc"]),
    user_id=st.sampled_from(["a", "b", None]),
    real_email=st.sampled_from(["x@example.org", None]),
)


@settings(max_examples=examples(50), deadline=None)  # each example writes files
@given(st.lists(people, max_size=6))
def test_ids_and_names_are_unique_and_hold_no_e_mail(tmp_path_factory, sign_ins):
    folder = tmp_path_factory.mktemp("store")
    store = HandStore(folder, folder / "locks")
    for each in sign_ins:
        keep(store, each)
    accounts, _ = readable(store.accounts())
    names = [account.name for account in accounts]
    assert len({account.id for account in accounts}) == len(set(names)) == len(accounts)
    assert not any("x@example.org" in name for name in names)
    known = {(each.kind, each.user_id) for each in sign_ins if each.user_id}
    kept = [(account.kind, account.extra["userId"]) for account in accounts if "userId" in account.extra]
    assert sorted(kept) == sorted(known)


# -------------------------------------------------------------------------------------------- races


class Removed(HandStore):
    """A store whose accounts vanish just before they are changed."""

    async def change(self, account_id, fields, *, if_unchanged=None):
        await self.remove(account_id)
        return await super().change(account_id, fields, if_unchanged=if_unchanged)


def test_an_account_that_is_removed_meanwhile_comes_back_with_the_new_tokens(store, tmp_path):
    first = keep(store, signed_in())
    again = keep(Removed(tmp_path, tmp_path / "locks"), signed_in(refresh_token="r2"))
    assert again.id != first.id
    assert only(store)["refreshToken"] == "r2"


def test_a_store_that_cannot_be_read_is_told_and_left_as_it_is(store, tmp_path):
    (tmp_path / "kiro-accounts.json").write_text("not JSON")
    with pytest.raises(StoreFailed):
        keep(store, signed_in())
    assert (tmp_path / "kiro-accounts.json").read_text() == "not JSON"


# --------------------------------------------------------------------- keys, and other programs' tokens


def key(token: str, **changed: Any) -> SignedIn:
    fields = {"kind": "api-key", "region": "us-east-1", "access_token": token, "profile_region": "us-east-1"}
    return SignedIn(**(fields | ANN | changed))


def test_a_key_is_stored_with_nothing_to_renew_it(store):
    account = keep(store, key("ksk_1"))
    record = only(store)
    assert (account.kind, account.label, account.access_token) == ("api-key", None, "ksk_1")
    assert not {"refreshToken", "expiresAt", "clientId", "clientSecret", "ssoStartUrl"} & record.keys()


def test_a_key_of_nobody_known_has_no_e_mail(store):
    assert "email" not in only_after(store, key("ksk_1", **NOBODY))


def only_after(store: HandStore, signed_in: SignedIn) -> dict[str, Any]:
    keep(store, signed_in)
    return only(store)


def test_the_same_person_s_other_key_replaces_the_first(store):
    first = keep(store, key("ksk_1"))
    second = keep(store, key("ksk_2"))
    assert (second.id, only(store)["accessToken"]) == (first.id, "ksk_2")


def test_the_same_key_is_one_account_though_nobody_knows_whose(store):
    assert keep(store, key("ksk_1", **NOBODY)).id == keep(store, key("ksk_1", **NOBODY)).id


def test_a_key_and_a_sign_in_of_one_person_are_two_accounts(store):
    assert keep(store, key("ksk_1")).id != keep(store, signed_in()).id


def of_kiro_cli(**changed: Any) -> SignedIn:
    return signed_in(**NOBODY | {"source": Source("kiro-cli", "/x/data.sqlite3", "row")} | changed)


def test_a_sign_in_of_one_s_own_shares_nothing_with_the_program_it_was_shared_with(store):
    """Else a sign-out there would end it, although it was made here because of that."""
    shared = keep(store, of_kiro_cli())
    store.change_account(shared.id, {"kiroAuth": shared.extra | {"userId": "user"}, "state": "sign-in"})
    own = keep(store, signed_in())
    assert (own.id, own.state) == (shared.id, "ready")
    assert (shared.source is not None, own.source) == (True, None)


@given(st.integers(-1000, 1000))
def test_tokens_of_another_program_replace_older_ones_only(tmp_path_factory, later):
    folder = tmp_path_factory.mktemp("store")
    store = HandStore(folder, folder / "locks")
    keep(store, of_kiro_cli(expires_at=NOW))
    before = only(store)
    admitted = at_once(admit(store, of_kiro_cli(expires_at=NOW + later, access_token="other"), NOW))
    if later > 0:
        assert (admitted.change, admitted.account.access_token) == ("updated", "other")
    else:
        assert (admitted.change, only(store)) == ("unchanged", before)


def test_what_another_program_says_replaces_no_profile_that_was_chosen_here(store):
    shared = keep(store, of_kiro_cli(expires_at=NOW, profile_arn="theirs"))
    store.change_account(shared.id, {"profileArn": ARN, "profileRegion": "eu-central-1"})
    again = keep(store, of_kiro_cli(expires_at=NOW + 1, profile_arn="theirs"))
    assert (again.profile_arn, again.profile_region) == (ARN, "eu-central-1")


def test_the_id_of_a_damaged_record_is_not_taken(store):
    store.add_account({"id": "old", "authMethod": ["?"]})
    assert keep(store, of_kiro_cli(id="old")).id != "old"
    assert store.accounts()[0] == {"id": "old", "authMethod": ["?"]}


def test_what_kiro_says_of_its_usage_is_kept_with_the_account(store):
    usage = {"usageBreakdownList": [{"resourceType": "CREDIT", "currentUsage": 1, "usageLimit": 10}]}
    account = keep(store, signed_in(usage=usage))
    row = store.usage()[account.id]
    assert (row["usedCount"], row["limitCount"], row["lastSync"]) == (1, 10, NOW * 1000)


# ------------------------------------------------------------- what another program holds by now


OTHER_URL = "https://acme.awsapps.com/start"


@pytest.mark.parametrize("newer", [0, 60], ids=["the same tokens", "newer tokens"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(of_kiro_cli(), of_kiro_cli(kind="idc"), id="taken for a Builder ID"),
        pytest.param(of_kiro_cli(kind="idc"), of_kiro_cli(), id="taken for an organisation"),
        pytest.param(
            of_kiro_cli(kind="idc"), of_kiro_cli(kind="idc", start_url=OTHER_URL), id="another organisation"
        ),
    ],
)
def test_another_kind_of_sign_in_over_there_takes_the_place_of_the_one_before(store, before, after, newer):
    account = keep(store, before)

    done = at_once(admit(store, msgspec.structs.replace(after, expires_at=after.expires_at + newer), NOW))

    assert (done.change, done.account.id) == ("updated", account.id)
    assert (done.account.kind, done.account.profile_arn) == (after.kind, after.profile_arn)
    assert done.account.sso_start_url == (after.start_url if after.kind == "idc" else None)
    assert at_once(admit(store, after, NOW)).change == "unchanged"


@pytest.mark.parametrize("slash", ["", "/", "/#/"])
def test_the_same_start_url_in_another_form_changes_nothing(store, slash):
    keep(store, of_kiro_cli(kind="idc"))
    assert (
        at_once(admit(store, of_kiro_cli(kind="idc", start_url=START_URL + slash), NOW)).change == "unchanged"
    )


def test_a_guess_changes_no_kind_that_is_known(store):
    keep(store, of_kiro_cli(kind="idc"))
    guess = of_kiro_cli(kind="builder-id", kind_unsure=True, start_url=None)
    assert at_once(admit(store, guess, NOW)).change == "unchanged"
    newer = at_once(admit(store, msgspec.structs.replace(guess, expires_at=NOW + 7200), NOW)).account
    assert (newer.kind, newer.profile_arn, newer.kind_unsure) == ("idc", ARN, True)


@given(st.floats(0, 0.999))
def test_the_same_tokens_are_not_newer_by_a_part_of_a_millisecond(tmp_path_factory, part):
    folder = tmp_path_factory.mktemp("store")
    store = HandStore(folder, folder / "locks")
    same = of_kiro_cli(expires_at=NOW + 60 + part)
    assert [at_once(admit(store, same, NOW)).change for _ in "12"] == ["added", "unchanged"]


@pytest.mark.parametrize("id_", ["../../up", "a/b", "", "x" * 65, "a b", "\x1b[31m", 5, None, {"a": 1}])
@pytest.mark.parametrize("moved", [False, True])
def test_an_id_that_no_program_of_ours_makes_is_replaced(store, id_: Any, moved: bool):
    record = {"id": id_, "accessToken": "t", "refreshToken": "r", "label": "Mine"} if moved else None

    admitted = keep(store, signed_in(id=id_ if isinstance(id_, str) else None, record=record))

    assert len(admitted.id) == 32
    assert admitted.id.isalnum()
    assert only(store)["id"] == admitted.id
