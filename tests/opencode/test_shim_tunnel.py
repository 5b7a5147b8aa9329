"""The plugin's tunnel, and what it shares with Python, in Node instead of OpenCode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.launch import KEPT, kept
from kiro_auth.opencode.install import render
from support.npm import NODE
from support.programs import Home

FOLDERS = json.loads((Path(__file__).parents[1] / "folders.json").read_text())
"""The cases that folders.py has to meet too."""


def run(folder: Path, program: str, *, before: str = "", **environment: str) -> Any:
    """What a program prints as JSON; in its module stand `before` and the plugin's own text ahead of it."""
    published = render([]).replace("const START = [];", "const START = null;")
    (folder / "program.mjs").write_text(before + published + program)
    done = subprocess.run(
        [NODE, str(folder / "program.mjs")],
        env=Home(folder).environment | environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


STRANGERS_KNOCK = """
const target = new URL(await tunnelAddress())
const answers = []
for (const key of [undefined, "", "wrong", NO_KEY]) {
  const headers = key === undefined ? {} : { "x-api-key": key }
  answers.push(await fetch(target, { headers }).then((it) => it.status, () => "hung up"))
}
const socket = net.connect(Number(target.port), "127.0.0.1")
socket.write("x".repeat(HEAD_BYTES + 1))
socket.on("error", () => {})
answers.push(await new Promise((done) => socket.once("close", () => done("hung up"))))
console.log(JSON.stringify({ answers, started: fs.existsSync(STATE) }))
process.exit()
"""


def test_whoever_else_finds_the_tunnel_is_hung_up_on(tmp_path: Path) -> None:
    said = run(tmp_path, STRANGERS_KNOCK)
    assert said == {"answers": ["hung up"] * 5, "started": False}


def test_the_gateway_sees_the_same_variables_as_when_a_command_starts_it(tmp_path: Path) -> None:
    given = {
        "LC_ALL": "C",
        "lc_time": "C",
        "https_proxy": "http://proxy",
        "KIRO_DEFAULT_REGION": "eu-central-1",
        "KIROX": "no",
        "NODE_OPTIONS": "",
        "PYTHONPATH": "/planted",
        "LD_LIBRARY_PATH": "/planted",
    }
    seen = run(tmp_path, "console.log(JSON.stringify(keptEnvironment())); process.exit()", **given)
    assert seen == kept(Home(tmp_path).environment | given)
    assert {"LC_ALL", "lc_time", "https_proxy", "KIRO_DEFAULT_REGION"} <= set(seen)
    assert not {"KIROX", "PYTHONPATH", "LD_LIBRARY_PATH", "NODE_OPTIONS"} & set(seen)
    assert "PATH" in KEPT


def test_a_program_in_the_folder_of_the_day_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "kiro-auth").write_text("#!/bin/sh\n")
    (tmp_path / "kiro-auth").chmod(0o700)
    ask = """
    process.chdir(process.env.HOME)
    let found
    try { found = programOnPath() } catch (error) { found = error.message }
    console.log(JSON.stringify(found))
    """
    for path in ("", ".", ":", "./:/nowhere"):
        assert "README" in run(tmp_path, ask, PATH=path)
    found = run(tmp_path, ask, PATH=f".:{tmp_path}")
    assert found == [str(tmp_path / "kiro-auth"), "serve", "--quiet", "--idle-minutes", "30"]


@pytest.mark.skipif(sys.platform == "win32", reason="Node takes the home from elsewhere, and turns slashes")
@pytest.mark.parametrize("case", FOLDERS, ids=lambda case: case["case"])
def test_the_plugin_looks_where_the_program_keeps_its_files(tmp_path: Path, case: dict[str, Any]) -> None:
    system = f'Object.defineProperty(process, "platform", {{ value: {json.dumps(case["system"])} }})\n'
    ask = "console.log(JSON.stringify([CONFIG, STATE])); process.exit()"
    found = run(tmp_path, ask, before=system, **{**case["environment"], "HOME": case["home"]})
    assert found == [case["config"], case["state"]]


ANSWERS = """
/** A gateway that proves itself, answers with `size` bytes, and ends the connection as `ending` says. */
async function scripted(size, ending) {
  const secret = "s"
  const server = net.createServer((socket) => {
    const at = `127.0.0.1:${server.address().port}`
    const proof = (...words) => crypto.createHmac("sha256", secret).update(words.join("\\n")).digest("hex")
    socket.on("error", () => {})
    socket.on("data", (data) => {
      const question = String(data).match(/^x-kiro-nonce: (\\S+)/im)?.[1]
      if (question) {
        const proved = proof("kiro-auth gateway", at, question, "1.0")
        const head = ["HTTP/1.1 204 No Content", "x-kiro-nonce: 1.0", `x-kiro-proof: ${proved}`, "", ""]
        return socket.write(head.join("\\r\\n"))
      }
      socket.write("HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n")
      socket.write(`${size.toString(16)}\\r\\n${"x".repeat(size)}\\r\\n`)
      if (ending === "whole") socket.end("0\\r\\n\\r\\n")
      else if (ending === "closed") socket.end()
      else setTimeout(() => socket.resetAndDestroy(), 50)
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  fs.mkdirSync(STATE, { recursive: true })
  const state = { host: "127.0.0.1", port: server.address().port, secret, pid: 1, version: VERSION }
  fs.writeFileSync(path.join(STATE, "gateway.json"), JSON.stringify(state))
}
await scripted(SIZE, ENDING)
/** How an answer comes to a client that takes its time to read. */
async function read() {
  const response = await send(PLACEHOLDER)
  await sleep(300)
  let length = 0
  try {
    for await (const part of response.body) {
      length += part.length
      await sleep(1)
    }
  } catch {
    return "broke off"
  }
  return length
}
const answers = await Promise.all(Array.from({ length: 10 }, read))
console.log(JSON.stringify([...new Set(answers)]))
process.exit()
"""


@pytest.mark.parametrize(
    ("size", "ending"),
    [(1, "whole"), (12_000_000, "whole"), (1, "closed"), (12_000_000, "closed"), (1, "reset")],
)
def test_an_answer_comes_whole_or_is_seen_to_break_off(tmp_path: Path, size: int, ending: str) -> None:
    """The gateway closes its end while the last of an answer is still on its way to OpenCode."""
    program = f'const [SIZE, ENDING] = [{size}, "{ending}"]\n{ANSWERS}'
    assert run(tmp_path, program) == [size if ending == "whole" else "broke off"]
