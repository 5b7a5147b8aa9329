"""UUIDs, with the standard library's as the judge."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.uuids import random_uuid, uuid_of

NAMESPACE = uuid.UUID("6f1f7c4e-5d0b-4c59-9a52-0a6f3b2b7f10")


@given(st.text())
def test_the_uuid_of_a_name_is_that_of_version_5(name: str) -> None:
    raw = name.encode(errors="surrogatepass")

    assert uuid_of(name) == str(uuid.uuid5(NAMESPACE, raw.hex()))


@given(st.binary(min_size=16, max_size=16))
def test_random_bytes_make_one_of_version_4(random: bytes) -> None:
    assert random_uuid(random) == str(uuid.UUID(bytes=random, version=4))
