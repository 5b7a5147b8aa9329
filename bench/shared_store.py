"""What sharing accounts in a database costs a gateway: the same requests as with files, in one run."""

from __future__ import annotations

import base64
import statistics
from contextlib import ExitStack

from bench import figures
from bench.load import request
from bench.programs import Place, gateway
from support.postgres import KEY, cluster, programs

_SENT = request(10, 10, 0, session="bench")
"""One of a conversation, whose account all replicas agree on."""


def sentences(place: Place, rounds: int, streams: int) -> list[str]:
    """A sentence, or nothing where PostgreSQL is not installed."""
    if programs() is None:
        print("PostgreSQL is not installed, so the cost of a shared store is not measured")
        return []
    with cluster(durable=True) as server, ExitStack() as running:
        store = {
            "KIRO_STORE": server.new_database("bench"),
            "KIRO_STORE_KEY": base64.b64encode(KEY).decode(),
        }
        version = server.execute("SHOW server_version")[0][0].split()[0]
        kinds = {
            "files": running.enter_context(gateway(place, accounts=3)),
            "database": running.enter_context(gateway(place, accounts=3, store=store)),
        }
        measured: dict[tuple[str, str], list[float]] = {}
        for program in kinds.values():
            figures.short(program, _SENT, streams)  # until it is warm
        for _ in range(rounds):
            for name, program in kinds.items():
                for figure, value in figures.short(program, _SENT, streams).items():
                    measured.setdefault((name, figure), []).append(value)
    files_cpu, database_cpu, files_first, database_first = (
        statistics.median(measured[name, figure])
        for figure in (figures.SHORT, figures.FIRST)
        for name in kinds
    )
    sentence = (
        f"Accounts in a database instead of files (PostgreSQL {version} on the same machine, waiting for its "
        f"disk): a request of 10 events costs the gateway {database_cpu:.2f} ms of processor time instead "
        f"of {files_cpu:.2f}; its first content comes after {database_first:.2f} ms (p50) instead of "
        f"{files_first:.2f}."
    )
    return [sentence]
