"""The plugin's requests where their order counts, in Node instead of OpenCode."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from kiro_auth.opencode.install import render
from support.npm import NODE
from support.programs import Home

TWO_AT_ONCE = """
import http from "node:http"

const asked = []
let release
const released = new Promise((done) => (release = done))
const server = http.createServer(async (request, response) => {
  const isNew = request.headers["x-api-key"] === "new"
  asked.push(request.url)
  if (request.url === "/slow" && !isNew) await released
  response.writeHead(isNew ? 200 : 401).end()
})
await new Promise((done) => server.listen(0, "127.0.0.1", done))
const { port } = server.address()
fs.mkdirSync(STATE, { recursive: true })
fs.writeFileSync(path.join(STATE, "gateway.json"), JSON.stringify({ port, key: "new", version: VERSION }))
known = { host: "127.0.0.1", port, key: "old", version: VERSION }

const slow = send(`${PLACEHOLDER}/slow`)
const quick = await send(`${PLACEHOLDER}/quick`)
release()
console.log(JSON.stringify({ status: [quick.status, (await slow).status], asked }))
process.exit()
"""


def test_of_two_requests_with_an_old_key_one_looks_for_the_new_one(tmp_path: Path):
    home = Home(tmp_path)
    program = tmp_path / "two.mjs"
    program.write_text(render(["never-started"]) + TWO_AT_ONCE)
    done = subprocess.run(
        [NODE, str(program)], env=home.environment, capture_output=True, text=True, timeout=15
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["status"] == [200, 200]
    assert sorted(said["asked"]) == ["/health", "/quick", "/quick", "/slow", "/slow"]
