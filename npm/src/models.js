import path from "node:path"
import { USUAL_MODELS } from "./constants.js"
import { ACCOUNTS_FILE, MODELS_FILE, env, readJson } from "./machine.js"

/** Whether there is anybody to work for. */
export const hasAccount = () => Boolean(env.KIRO_API_KEY || readJson(ACCOUNTS_FILE)?.accounts?.length > 0)

/** The models as the gateway wrote them down last. @returns {Models} */
export function listedModels() {
  const { opencode1, opencode2 } = readJson(MODELS_FILE) ?? {}
  return opencode1 && opencode2 ? { opencode1, opencode2 } : USUAL_MODELS
}

/**
 * The headers that tell the gateway which project a request is of, where its options ask for them.
 * @param {string | undefined} folder @returns {Record<string, string>}
 */
export function projectHeaders(folder) {
  const name = path.basename(folder ?? "")
  return name && readJson(MODELS_FILE)?.projects ? { "x-kiro-project": encodeURIComponent(name) } : {}
}
