"""A frame of the service's replies, as it was decoded."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from msgspec import Struct

HeaderValue: TypeAlias = bool | int | bytes | str | datetime | uuid.UUID


class Frame(Struct, frozen=True, gc=False):
    """One message: its headers by name, and its payload."""

    headers: Mapping[str, HeaderValue]
    payload: bytes
