"""The ledger's one table, and how it came to be: steps that are taken in order, forward only."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kiro_auth.ledger.row import Row
from kiro_auth.reply_usage import InputParts

COLUMNS: Final = tuple("ended" if name == "when" else name for name in Row.__struct_fields__)
"""In the order of `Row`; `when` is a word of SQL."""
STEPS: Final = (
    (
        """
    create table turns (
      number integer primary key,
      ended real not null,
      caller text not null,
      client text,
      session text,
      project text,
      surface text not null,
      kind text,
      model_asked text,
      model text,
      account text,
      account_name text,
      credits real,
      input_tokens integer,
      input_source text,
      output_tokens integer,
      output_source text,
      first_byte real,
      seconds real not null,
      attempts text not null,
      repairs text not null,
      outcome text not null,
      request_id text not null,
      thrift_for text,
      input_parts text
    )""",
        "create index turns_by_time on turns (ended)",
    ),
)
"""The statements of each take a ledger to the next version, which `pragma user_version` has."""
INSERT: Final = f"insert into turns ({', '.join(COLUMNS)}) values ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
SELECT: Final = f"select {', '.join(COLUMNS)} from turns"  # noqa: S608


def values_of(row: Row) -> tuple[Any, ...]:
    """A row as the table has it; lists and parts are JSON."""
    values = list(msgspec.structs.astuple(row))
    for number in _IN_JSON:
        if values[number] is not None:
            values[number] = _encode(values[number]).decode()
    return tuple(values)


_IN_JSON: Final = tuple(map(COLUMNS.index, ("attempts", "repairs", "input_parts")))
_encode: Final = msgspec.json.encode


def row_from(values: tuple[Any, ...]) -> Row:
    """The row that the table has so."""
    fields = dict(zip(Row.__struct_fields__, values, strict=True))
    for name in ("attempts", "repairs"):
        fields[name] = msgspec.json.decode(fields[name], type=tuple[str, ...])
    if fields["input_parts"] is not None:
        fields["input_parts"] = msgspec.json.decode(fields["input_parts"], type=InputParts)
    return Row(**fields)
