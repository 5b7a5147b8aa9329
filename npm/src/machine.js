import fs from "node:fs"
import os from "node:os"
import path from "node:path"

export const windows = process.platform === "win32"
export const { env } = process

/** The program's own folders; folders.py follows the same rules. */
export const home = os.homedir()
export const CONFIG = path.join(
  (windows ? env.APPDATA : env.XDG_CONFIG_HOME) || path.join(home, windows ? "AppData/Roaming" : ".config"),
  "opencode",
)
export const STATE = path.join(
  (windows ? env.LOCALAPPDATA : env.XDG_STATE_HOME) || path.join(home, windows ? "AppData/Local" : ".local/state"),
  "kiro-auth",
)
export const ACCOUNTS_FILE = path.join(CONFIG, "kiro-accounts.json")
export const MODELS_FILE = path.join(STATE, "models.json")
export const LOG_FILE = path.join(STATE, "gateway.log")

/** @param {number} ms @param {AbortSignal} [signal] */
export const sleep = (ms, signal) =>
  new Promise((wake) => {
    const timer = setTimeout(wake, ms)
    signal?.addEventListener("abort", () => wake(clearTimeout(timer)), { once: true })
  })

/** The JSON in a file, or undefined. @param {string} file */
export function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"))
  } catch {
    return undefined
  }
}
