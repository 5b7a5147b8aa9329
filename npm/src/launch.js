import fs from "node:fs"
import path from "node:path"
import { spawn } from "node:child_process"
import { PATHS, START, VARIABLES } from "./constants.js"
import { LOG_FILE, STATE, env, home, readJson, sleep, windows } from "./machine.js"
import { prove } from "./proof.js"

const START_SECONDS = 20
/** Between two looks for the gateway, which begins within a few tenths of a second. */
const LOOK_MS = 10

/** The program on the PATH; what lies in the folder of the day is not ours to run. */
function programOnPath() {
  const names = windows ? ["kiro-auth.exe", "kiro-auth.cmd"] : ["kiro-auth"]
  const folders = (env.PATH ?? "").split(path.delimiter).filter(path.isAbsolute)
  const files = folders.flatMap((folder) => names.map((name) => path.join(folder, name)))
  const found = files.find((file) => fs.existsSync(file))
  if (!found)
    throw new Error(
      "The program kiro-auth is not on your PATH. The README of opencode-kiro-auth says how to install it",
    )
  return [found, "serve", "--quiet", "--idle-minutes", "30"]
}

/**
 * The value of a variable; a relative path counts from our folder, as the gateway runs in the home. libpq takes
 * some words in place of a path.
 * @param {string} name @param {string} value
 */
function whole(name, value) {
  if (/^KIRO_/i.test(name)) value = value.trim() // as it is read
  const isPath = PATHS.includes(name.toUpperCase()) && value && !/^PGSSL\w+=(system$|\w+:)/i.test(`${name}=${value}`)
  if (!isPath || path.isAbsolute(value)) return value
  try {
    return `${process.cwd()}${path.sep}${value}`
  } catch {
    return value // the folder is gone
  }
}

/** What the gateway may see of the environment, each path whole. */
function keptEnvironment() {
  const kept = Object.entries(env).filter(([name]) =>
    VARIABLES.some((wanted) =>
      wanted.endsWith("*")
        ? name.toUpperCase().startsWith(wanted.slice(0, -1))
        : name.toUpperCase() === wanted.toUpperCase(),
    ),
  )
  return Object.fromEntries(kept.map(([name, value]) => [name, whole(name, value ?? "")]))
}

/** The gateway's log, which also takes what it says before it writes there itself, even when we are gone. */
function openLog() {
  fs.mkdirSync(STATE, { recursive: true, mode: 0o700 })
  return fs.openSync(LOG_FILE, "a", 0o600)
}

/** What a line of the log says: a record as JSON, or text as it is. @param {string} line */
function messageOf(line) {
  try {
    return String(JSON.parse(line).message ?? line)
  } catch {
    return line
  }
}

/** The last line with words in the log, after so many bytes. @param {number} start */
function lastLine(start) {
  const lines = fs.readFileSync(LOG_FILE).subarray(start).toString().split("\n")
  const line = lines.filter((line) => /\w/.test(line)).pop()
  return line && messageOf(line).replace(/^error: /, "")
}

/** @returns {Gateway | undefined} */
export const announced = () => readJson(path.join(STATE, "gateway.json"))

/** Start a gateway and wait until one proves itself: the new one, or another that was faster. */
export async function start() {
  const before = announced()
  const [program, ...words] = START ?? programOnPath()
  const log = openLog()
  const { size } = fs.fstatSync(log)
  const stdio = /** @type {import("node:child_process").StdioOptions} */ (["ignore", "ignore", log])
  const child = spawn(program, words, { cwd: home, env: keptEnvironment(), detached: true, stdio, windowsHide: true })
  fs.closeSync(log)
  /** @type {string | undefined} */
  let failed
  child.on("error", (error) => (failed = `${error.message}. Run again: kiro-auth install opencode`))
  /** @type {number | string | null | undefined} */
  let status
  child.on("exit", (code, signal) => (status = code ?? signal))
  child.unref()
  const end = Date.now() + START_SECONDS * 1000
  while (!failed && !status && Date.now() < end) {
    await sleep(LOOK_MS)
    const gateway = announced()
    // One that ended without a fault left the place to another: a faster one, or an older one that keeps it.
    if (!gateway || (status !== 0 && gateway.pid === before?.pid)) continue
    const line = await prove(gateway).catch(() => undefined)
    line?.socket.destroy()
    if (line) return
  }
  if (failed) throw new Error(failed)
  const reason = status ? (lastLine(size) ?? `exit code ${status}`) : `no answer in ${START_SECONDS} seconds`
  throw new Error(`${reason} (see ${LOG_FILE})`)
}
