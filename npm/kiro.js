// kiro-auth OpenCode plugin 0.1.0 (written by npm)
//
// Thin on purpose: it tells OpenCode which models there are, and sends their requests to the gateway on this
// machine, which is found or started with the first request. People without a Kiro account notice nothing:
// no process, no connection, no file.
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { spawn } from "node:child_process"

/** How to start the gateway; it ends by itself when unused, and at once when another one runs. */
const start = () => programOnPath()
/** The original plugin's models, always there; the gateway writes down those of the user's plan. @type {Record<string, any>} */
const KNOWN_MODELS = {"claude-sonnet-4-5":{"name":"Claude Sonnet 4.5","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":true,"tool_call":true,"temperature":true,"modalities":{"input":["text","image","pdf"],"output":["text"]},"cost":{"input":0,"output":0},"variants":{"low":{"thinking":{"type":"enabled","budgetTokens":8192}},"medium":{"thinking":{"type":"enabled","budgetTokens":16384}},"high":{"thinking":{"type":"enabled","budgetTokens":24576}},"xhigh":{"disabled":true},"max":{"thinking":{"type":"enabled","budgetTokens":32768}}}},"claude-sonnet-4-5-thinking":{"name":"Claude Sonnet 4.5 Thinking","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":false,"tool_call":true,"temperature":true,"modalities":{"input":["text","image","pdf"],"output":["text"]},"cost":{"input":0,"output":0},"variants":{"low":{"thinking":{"type":"enabled","budgetTokens":8192}},"medium":{"thinking":{"type":"enabled","budgetTokens":16384}},"high":{"thinking":{"type":"enabled","budgetTokens":24576}},"xhigh":{"disabled":true},"max":{"thinking":{"type":"enabled","budgetTokens":32768}}}},"claude-haiku-4-5":{"name":"Claude Haiku 4.5","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":false,"tool_call":true,"temperature":true,"modalities":{"input":["text","image"],"output":["text"]},"cost":{"input":0,"output":0},"family":"claude-haiku"}}
const VERSION = "0.1.0"
const START_SECONDS = 20
const DOWNLOAD_SECONDS = 120
const SIGN_IN_SECONDS = 900
const NEWS_SECONDS = 1.5

/** Stands in for the gateway's address until there is one; never resolved. */
const PLACEHOLDER = "http://kiro.invalid"

// The same folders as config.py.
const windows = process.platform === "win32"
const { env } = process
const home = os.homedir()
const CONFIG = path.join(
  (windows ? env.APPDATA : env.XDG_CONFIG_HOME) || path.join(home, windows ? "AppData/Roaming" : ".config"),
  "opencode",
)
const STATE = path.join(
  (windows ? env.LOCALAPPDATA : env.XDG_STATE_HOME) || path.join(home, windows ? "AppData/Local" : ".local/state"),
  "kiro-auth",
)
const LOG = path.join(STATE, "gateway.log")

const sleep = (/** @type {number} */ ms) => new Promise((wake) => setTimeout(wake, ms))

/** The JSON in a file, or undefined. @param {string} file */
function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"))
  } catch {
    return undefined
  }
}

const hasAccount = () => env.KIRO_API_KEY || readJson(path.join(CONFIG, "kiro-accounts.json"))?.accounts?.length > 0

// ------------------------------------------------------------------------------------------- models

/** A variant in the words of the original plugin means nothing to @ai-sdk/anthropic. @param {any} variant */
function translated({ thinkingConfig, ...rest }) {
  const budgetTokens = thinkingConfig?.thinkingBudget
  return budgetTokens ? { ...rest, thinking: { type: "enabled", budgetTokens } } : rest
}

/** What the user wrote about a model, over what is known of it. @param {any} known @param {any} own */
function merged(known, own) {
  const variants = Object.entries(own.variants ?? {}).map(([name, variant]) => [name, translated(variant)])
  return { ...known, ...own, variants: { ...known?.variants, ...Object.fromEntries(variants) } }
}

/** The provider as OpenCode's configuration has it; what the user wrote counts. @param {any} own */
function provider(own = {}) {
  const models = { ...KNOWN_MODELS, ...readJson(path.join(STATE, "models.json")) }
  for (const [id, model] of Object.entries(own.models ?? {})) models[id] = merged(models[id], model)
  const options = { ...own.options, baseURL: `${PLACEHOLDER}/v1`, apiKey: "kept-by-the-gateway", fetch: send }
  return { ...own, name: own.name ?? "Kiro", npm: "@ai-sdk/anthropic", models, options }
}

// ------------------------------------------------------------------------------------------ gateway

/** @typedef {{ host: string, port: number, key: string, version: string }} Gateway */

/** @param {Gateway | undefined} gateway */
function address(gateway) {
  const host = gateway?.host ?? "127.0.0.1"
  return `http://${host.includes(":") ? `[${host}]` : host}:${gateway?.port}`
}

/** Whether the gateway answers and takes the key. @param {Gateway | undefined} gateway */
async function alive(gateway) {
  if (!gateway?.port) return false
  try {
    const signal = AbortSignal.timeout(1500)
    return (await fetch(`${address(gateway)}/health`, { headers: { "x-api-key": gateway.key }, signal })).ok
  } catch {
    return false
  }
}

/** Whether a version comes before this plugin's, by the numbers in it. @param {string} version */
function isOlder(version) {
  const [theirs, ours] = [version, VERSION].map((text) => (String(text).match(/\d+/g) ?? []).map(Number))
  const at = ours.findIndex((part, n) => part !== theirs[n])
  return at >= 0 && !(theirs[at] > ours[at])
}

/** The way to this machine leads through no proxy, which would see the key and what is said. */
function useNoProxy() {
  const known = (env.no_proxy || env.NO_PROXY || "").split(",").filter(Boolean)
  env.NO_PROXY = env.no_proxy = [...new Set([...known, "127.0.0.1", "localhost", "::1"])].join(",")
}

/** The gateway's log, which also takes what it says before it writes there itself, even when we are gone. */
function openLog() {
  fs.mkdirSync(STATE, { recursive: true, mode: 0o700 })
  return fs.openSync(LOG, "a", 0o600)
}

/** The last line with words in the log, after so many bytes. @param {number} start */
function lastLine(start) {
  const lines = fs.readFileSync(LOG).subarray(start).toString().split("\n")
  const line = lines.filter((line) => /\w/.test(line)).pop()
  return line?.replace(/^error: /, "")
}

/** The gateway that runs, or a new one. @returns {Promise<Gateway>} */
async function findOrStart() {
  const announced = () => readJson(path.join(STATE, "gateway.json"))
  useNoProxy()
  const running = announced()
  // A newer program takes the place of an older one, which finishes its answers first.
  if ((await alive(running)) && !isOlder(running.version)) return running
  /** @type {string | undefined} */
  let failed
  const [program, ...words] = start()
  const log = openLog()
  const { size } = fs.fstatSync(log)
  const stdio = /** @type {import("node:child_process").StdioOptions} */ (["ignore", "ignore", log])
  const child = spawn(program, words, { cwd: home, detached: true, stdio, windowsHide: true })
  fs.closeSync(log)
  child.on("error", (error) => (failed = `${error.message}. Run again: kiro-auth install opencode`))
  /** @type {number | string | null | undefined} */
  let status
  child.on("exit", (code, signal) => (status = code ?? signal))
  child.unref()
  // The npm package may start these, which download the program first.
  const seconds = ["uvx", "pipx"].includes(path.parse(program).name) ? DOWNLOAD_SECONDS : START_SECONDS
  const end = Date.now() + seconds * 1000
  while (!failed && !status && Date.now() < end) {
    await sleep(50)
    const started = announced()
    // One that ended without a fault left the place to another: a faster one, or an older one that keeps it.
    if ((await alive(started)) && (status === 0 || started.pid !== running?.pid)) return started
  }
  if (failed) throw new Error(failed)
  const reason = status ? (lastLine(size) ?? `exit code ${status}`) : `no answer in ${seconds} seconds`
  throw new Error(`${reason} (see ${LOG})`)
}

/** @type {Gateway | undefined} */
let known
/** @type {Promise<Gateway> | undefined} */
let finding

/** Requests that come together share one search. */
async function gateway() {
  finding ??= findOrStart()
    .then((found) => (known = found))
    .finally(() => (finding = undefined))
  return finding
}

/** Why there is no gateway, in the shape that OpenCode shows and does not repeat. @param {unknown} error */
function refusal(error) {
  const message = `The Kiro gateway did not start: ${error instanceof Error ? error.message : error}`
  const body = { type: "error", error: { type: "invalid_request_error", message } }
  return new Response(JSON.stringify(body), { status: 400, headers: { "content-type": "application/json" } })
}

/**
 * OpenCode's `fetch` for this provider. Once, when the gateway is gone or has another key, a new one is looked for.
 * @param {string | URL | Request} url
 * @param {RequestInit} [init]
 */
async function send(url, init = {}) {
  for (let again = false; ; again = true) {
    /** @type {Gateway} */
    let target
    try {
      target = known ?? (await gateway())
    } catch (error) {
      return refusal(error)
    }
    const headers = new Headers(init.headers)
    headers.set("x-api-key", target.key)
    try {
      const response = await fetch(String(url).replace(PLACEHOLDER, address(target)), { ...init, headers })
      if (response.status !== 401 || again) return response
    } catch (error) {
      if (again || init.signal?.aborted) throw error
    }
    if (known === target) known = undefined // else another request has found a new one
  }
}

/** A call to the gateway's control API. @param {string} route @param {unknown} [body] @returns {Promise<any>} */
async function control(route, body) {
  const headers = { "content-type": "application/json" }
  const init = body ? { method: "POST", body: JSON.stringify(body), headers } : {}
  const response = await send(`${PLACEHOLDER}/kiro/${route}`, init)
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error?.message ?? `status ${response.status}`)
  return answer
}

// ------------------------------------------------------------------------------------------ sign-in

/** A sign-in that cannot be asked after has ended with the gateway that held it. @param {Error} error */
const lost = (error) => ({ status: "failed", message: error.message })

/**
 * What `opencode auth login` shows, and how it learns that the sign-in is done.
 * @param {string} method
 * @param {(message: string, variant: "info" | "error") => Promise<unknown>} tell
 */
const signIn = (method, tell) => async (/** @type {Record<string, string>} */ inputs = {}) => {
  const { id, url, code, notice } = await control("login", { method, ...inputs })
  const callback = async () => {
    const end = Date.now() + SIGN_IN_SECONDS * 1000
    while (Date.now() < end) {
      await sleep(1000)
      const { status, message, notices } = await control(`login/${id}`).catch(lost)
      for (const each of notices ?? []) await tell(each, "info")
      if (status === "done") return { type: "success", key: "kept-by-the-gateway" }
      if (status === "failed") {
        await tell(message, "error")
        break
      }
    }
    return { type: "failed" }
  }
  const instructions = `Confirm the code ${code} in the browser${notice ? `. ${notice}` : ""}`
  return { url, instructions, method: "auto", callback }
}

const ORGANISATION = [
  {
    type: "text",
    key: "startUrl",
    message: "Start URL of your organisation (empty: as configured)",
    placeholder: "https://d-xxxxxxxxxx.awsapps.com/start",
  },
  {
    type: "text",
    key: "region",
    message: "AWS region of your IAM Identity Center (empty: as configured)",
    placeholder: "us-east-1",
  },
]

// ------------------------------------------------------------------------------------------- plugin

/** Two names of one command. */
const SIGN_IN_COMMANDS = ["auth", "providers"]

/** Whether OpenCode was started with one of these commands. @param {string[]} commands */
const called = (commands) => process.argv.some((word) => commands.includes(word))

/** @param {{ client: any }} input */
export const Kiro = async ({ client }) => {
  /** @param {string} message @param {"info" | "warning" | "error"} variant */
  const toast = (message, variant) =>
    client.tui.showToast({ body: { title: "Kiro", message, variant } }).catch(() => {})
  /**
   * OpenCode shows no reason itself; the command line has no toasts either.
   * @param {string} message @param {"info" | "error"} variant
   */
  const tell = (message, variant) => {
    if (called(SIGN_IN_COMMANDS)) console.error(message)
    return toast(message, variant)
  }
  /** The last notice of the gateway that this window knows of. */
  let last = 0
  // `opencode run` and its like have no window; there nothing is asked for that nobody would see.
  const watched = !called([...SIGN_IN_COMMANDS, "run", "models", "serve"])
  /** Shows what the gateway has to say; what a turn used is known a moment after it. */
  const tellNews = async () => {
    await sleep(NEWS_SECONDS * 1000)
    const news = await control(`notices?after=${last}`).catch(() => undefined)
    last = news?.last ?? last
    for (const { message, variant } of news?.notices ?? []) await toast(message, variant)
  }
  return {
    config: async (/** @type {any} */ config) => {
      if (!hasAccount() && !config.provider?.kiro) return
      config.provider = { ...config.provider, kiro: provider(config.provider?.kiro) }
    },
    auth: {
      provider: "kiro",
      methods: [
        { type: "oauth", label: "AWS Builder ID (IDC)", authorize: signIn("builder-id", tell) },
        {
          type: "oauth",
          label: "AWS SSO (IAM Identity Center)",
          prompts: ORGANISATION,
          authorize: signIn("idc", tell),
        },
      ],
    },
    event: async (/** @type {{ event: { type: string } }} */ { event }) => {
      if (event.type === "session.idle" && known && watched) tellNews()
    },
  }
}

// ------------------------------------------------------------------------------- where the program is

const SERVE = ["serve", "--quiet", "--idle-minutes", "30"]
/** What starts `kiro-auth`, best first; the last two fetch it when it is not installed. */
const PROGRAMS = [
  ["kiro-auth"],
  ["uvx", "--from", "opencode-kiro-auth", "kiro-auth"],
  ["pipx", "run", "--spec", "opencode-kiro-auth", "kiro-auth"],
]

/** The command that starts the gateway, from what is on the PATH. @returns {string[]} */
function programOnPath() {
  const endings = windows ? [".exe", ".cmd", ""] : [""]
  const folders = (env.PATH ?? "").split(path.delimiter).filter(Boolean)
  for (const [program, ...words] of PROGRAMS) {
    for (const folder of folders) {
      const found = endings.map((ending) => path.join(folder, program + ending)).find((file) => fs.existsSync(file))
      if (found) return [found, ...words, ...SERVE]
    }
  }
  throw new Error("The program kiro-auth is not installed: pipx install opencode-kiro-auth")
}
