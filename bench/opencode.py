"""Measure what the plugin adds to a start of OpenCode.

    make bench-opencode               about two minutes
    … ARGS="--pairs 40"               more of them

Pairs of `opencode models`, with the plugin and with an empty one, alternating; the figure is the median of
the pairs' differences.  Once for people without an account, once with one and a gateway that runs.

Then what a request costs more because the gateway proves itself on its connection: pairs of the same request,
through the plugin's tunnel and straight to the gateway with its key, in Node.js.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from kiro_auth.opencode.install import render
from support.npm import NODE
from support.opencode import VERSIONS, OpenCode
from support.programs import Home


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.opencode", description=__doc__)
    parser.add_argument("--pairs", type=int, default=21, help="how many pairs to take the median of")
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        opencode = OpenCode(VERSIONS[0], home)
        print(f"OpenCode {VERSIONS[0]}, `opencode models`, medians of {pairs} pairs:")
        report("without an account", home, opencode, pairs)
        with home.simulator("--auto-approve"):
            home.run("login", "--builder-id", "--no-browser")
            with home.started("serve") as gateway:
                assert gateway.stdout is not None
                gateway.stdout.readline()
                report("with an account and a running gateway", home, opencode, pairs)
                proof(home)


def report(what: str, home: Home, opencode: OpenCode, pairs: int) -> None:
    home.run("install", "opencode")
    opencode.run("models")  # whatever is done once is done
    plugin = home.config / "plugin" / "kiro.js"
    text = plugin.read_text()
    base, added = [], []
    for _ in range(pairs):
        plugin.write_text("")  # OpenCode does something for any plugin file; that is not this one's
        without = seconds(opencode)
        plugin.write_text(text)
        base.append(without)
        added.append(seconds(opencode) - without)
    share = statistics.median(added) / statistics.median(base)
    print(f"  {what}: {1000 * statistics.median(added):+.0f} ms", end=" ")
    print(f"({share:+.1%} of {statistics.median(base):.2f} s; middle half {spread(added)})")


REQUESTS = 300
ALTERNATE = """
const { host, port, key } = announced()
const messages = [{ role: "user", content: "x".repeat(20000) }]
const init = { method: "POST", body: JSON.stringify({ model: "claude-sonnet-4-5", messages }) }
const route = "/v1/messages/count_tokens"
const kinds = {
  straight: () => fetch(`http://${host}:${port}${route}`, { ...init, headers: { "x-api-key": key } }),
  proved: () => send(PLACEHOLDER + route, init),
}
const spent = { straight: [], proved: [] }
for (let number = 0; number < REQUESTS; number++)
  for (const [name, ask] of Object.entries(kinds)) {
    const begun = performance.now()
    const answer = await ask()
    if (answer.status !== 200) throw new Error(await answer.text())
    await answer.text()
    spent[name].push(performance.now() - begun)
  }
console.log(JSON.stringify(spent))
process.exit()
"""


def proof(home: Home) -> None:
    program = home.folder / "proof.mjs"
    program.write_text(render(["never-started"]) + ALTERNATE.replace("REQUESTS", str(REQUESTS)))
    done = subprocess.run(
        [NODE, str(program)], env=home.environment, check=True, capture_output=True, text=True
    )
    straight, proved = (statistics.median(json.loads(done.stdout)[name]) for name in ("straight", "proved"))
    print(
        f"One request of 20 kB, medians of {REQUESTS} pairs: {proved:.2f} ms through the tunnel, with the",
        end=" ",
    )
    print(f"proof; {straight:.2f} ms straight; ratio {proved / straight:.2f}")


def seconds(opencode: OpenCode) -> float:
    begun = time.perf_counter()
    opencode.run("models")
    return time.perf_counter() - begun


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{1000 * low:+.0f} to {1000 * high:+.0f} ms"


if __name__ == "__main__":
    main()
