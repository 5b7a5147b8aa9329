"""The copies in which other programs' databases are looked at: tokens stand in them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from kiro_auth.login.tools.sqlite import clear_copies, snapshot

LOOKS_AND_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from kiro_auth.login.tools.sqlite import snapshot
with snapshot(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.outside
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_what_was_left_by_who_was_killed_goes_with_the_next_look_and_what_is_looked_at_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, database = tmp_path / "tmp", tmp_path / "data.sqlite3"
    there.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(there))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table auth_kv (key, value)")
        connection.execute("insert into auth_kv values ('a', 'secret-refresh')")
    command = [sys.executable, "-P", "-c", LOOKS_AND_IS_KILLED, str(database)]
    subprocess.run(command, env={**os.environ, "TMPDIR": str(there)}, check=False)
    (left,) = there.iterdir()
    assert b"secret-refresh" in (left / "copy.sqlite3").read_bytes()
    (there / "kiro-auth-copy-elsewhere").symlink_to(tmp_path)
    long_ago = time.time() - 100
    os.utime(left, (long_ago, long_ago))
    os.utime(tmp_path, (long_ago, long_ago))

    with snapshot(database) as connection:
        clear_copies()
        assert not left.exists()
        assert connection.execute("select value from auth_kv").fetchone()[0] == "secret-refresh"
    assert database.exists()
    assert [path.name for path in there.iterdir()] == ["kiro-auth-copy-elsewhere"]
