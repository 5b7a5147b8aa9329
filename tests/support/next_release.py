"""The program as its next release may be, as far as the database can tell: it has a step of the schema more.

    python -P next_release.py serve --port 8000

The step adds what steps may add: a table, an index, and to every table there is a column that is left empty
and one with a default.
"""

from __future__ import annotations

import re
from typing import LiteralString, cast

from kiro_auth.store import schema

TABLES = sorted(
    {name for step in schema.STEPS for text in step for name in re.findall(r"TABLE kiro_auth\.(\w+)", text)}
)
STEP = cast(
    "tuple[LiteralString, ...]",
    (
        "CREATE TABLE kiro_auth.later (id text PRIMARY KEY, value text)",
        *(f"ALTER TABLE kiro_auth.{name} ADD COLUMN later text" for name in TABLES),
        *(f"ALTER TABLE kiro_auth.{name} ADD COLUMN later_still int NOT NULL DEFAULT 7" for name in TABLES),
        "CREATE INDEX later_values ON kiro_auth.later (value)",
    ),
)

if __name__ == "__main__":
    schema.STEPS = (*schema.STEPS, STEP)  # type: ignore[misc]
    from kiro_auth.cli.main import main  # what it imports reads the steps

    main()
