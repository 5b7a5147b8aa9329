// OpenCode 2.0.4 and newer: registrations with the context that is handed over.
import fs from "node:fs"
import { ID, NO_KEY, PLACEHOLDER } from "./constants.js"
import { ACCOUNTS_FILE, MODELS_FILE } from "./machine.js"
import { hasAccount, listedModels, projectHeaders } from "./models.js"
import { METHODS, SIGN_IN_SECONDS, beginSignIn, endOfSignIn } from "./sign_in.js"
import { closeTunnel, tunnelAddress, withToken } from "./tunnel.js"

const LOOK_SECONDS = 2
const FAR_AHEAD = Date.UTC(2100, 0)

/** What must happen when accounts or models change, by location: one long-lived service has several. @type {Set<() => unknown>} */
const reloads = new Set()
/** @type {NodeJS.Timeout | undefined} */
let looking
/** What the provider is made of, as its files were read last. @type {{ shown: boolean, models: any[] }} */
let current = { shown: false, models: [] }
let stamp = ""

/** Read accounts and models anew if their files have changed, as they do outside of OpenCode, too. */
function look() {
  const stats = [ACCOUNTS_FILE, MODELS_FILE].map((file) => fs.statSync(file, { throwIfNoEntry: false }))
  const now = stats.map((stat) => stat && `${stat.ino} ${stat.size} ${stat.mtimeMs}`).join("\n")
  if (now === stamp) return
  stamp = now
  current = { shown: hasAccount(), models: listedModels().opencode2 }
  for (const reload of reloads) reload()
}

/** Keep the provider of a location up to date; what ends that. @param {() => unknown} reload */
function keepUpToDate(reload) {
  look()
  reloads.add(reload)
  looking ??= setInterval(look, LOOK_SECONDS * 1000).unref()
  return async () => {
    reloads.delete(reload)
    if (reloads.size) return
    clearInterval(looking)
    looking = undefined
    await closeTunnel()
  }
}

/** Sends a request of OpenCode's through the tunnel. @param {any} event @param {string | undefined} folder */
async function reroute(event, folder) {
  const { url, method, headers: given, signal } = event.request
  if (!url.startsWith(PLACEHOLDER)) return // the user's own base URL
  const headers = withToken(given)
  if (typeof event.kind === "string") headers.set("x-kiro-kind", event.kind)
  for (const [name, value] of Object.entries(projectHeaders(folder))) headers.set(name, value)
  const [address, body] = await Promise.all([tunnelAddress(), event.request.arrayBuffer()])
  event.request = new Request(url.replace(PLACEHOLDER, address), { method, headers, body, signal })
}

/** @param {any} ctx the plugin's context; other releases hand over others */
export const setup = async (ctx) => {
  if (!ctx?.provider?.transform || !ctx.session?.hook) {
    // 1.17 and 1.18 call this as well, as a preview; they have `server`.
    const release = ctx?.app?.version
    if (release)
      console.error(`The Kiro plugin needs OpenCode 2.0.4 or newer; this is ${release}. Run: opencode upgrade`)
    return undefined
  }
  const unloaded = new AbortController()
  const reload = () => Promise.resolve(ctx.provider.reload()).catch(() => {})
  /** @param {string} methodID */
  const authorize =
    (methodID) =>
    async (/** @type {Record<string, string>} */ answers = {}) => {
      const { id, ...shown } = await beginSignIn(methodID, answers)
      const callback = endOfSignIn(id, unloaded.signal).then(() => {
        look()
        reload()
        return { type: "oauth", methodID, refresh: "", access: NO_KEY, expires: FAR_AHEAD }
      })
      callback.catch(() => {}) // OpenCode reads it, but perhaps later than it fails
      return { ...shown, mode: "auto", expiresAt: Date.now() + SIGN_IN_SECONDS * 1000, callback }
    }
  const stopLooking = keepUpToDate(reload)
  await ctx.integration.transform((/** @type {any} */ editor) => {
    editor.update(ID, (/** @type {any} */ integration) => void (integration.name = "Kiro"))
    for (const { id, label, fields } of METHODS) {
      const form = fields.map((field) => ({ type: "string", required: false, ...field }))
      const method = { id, type: "oauth", label, ...(form.length && { form }) } // an empty form is refused
      editor.method.update({ integrationID: ID, method, authorize: authorize(id) })
    }
  })
  const settings = { baseURL: `${PLACEHOLDER}/v1`, apiKey: NO_KEY }
  const info = { id: ID, name: "Kiro", activation: "enabled", package: "@opencode/ai/providers/anthropic", settings }
  await ctx.provider.transform((/** @type {any} */ editor) => {
    // OpenCode freezes what it is given, and asks again after every change.
    if (current.shown) editor.add({ info, models: structuredClone(current.models) })
  })
  // A hook that rejects would end the turn without a word; where its request then goes, nobody answers.
  const folder = ctx.location?.project?.directory || ctx.location?.directory
  await ctx.session.hook("http.request", (/** @type {any} */ event) => reroute(event, folder).catch(console.error), {
    providerID: ID,
  })
  return async () => {
    unloaded.abort()
    await stopLooking()
  }
}
