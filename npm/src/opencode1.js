// OpenCode 1.14 to 1.18: hooks that are returned.
import { ID, NO_KEY, PLACEHOLDER } from "./constants.js"
import { sleep } from "./machine.js"
import { hasAccount, listedModels, projectHeaders } from "./models.js"
import { METHODS, beginSignIn, endOfSignIn } from "./sign_in.js"
import { isTunnelOpen, news, send } from "./tunnel.js"

const NEWS_SECONDS = 1.5

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

/**
 * The provider as OpenCode's configuration has it; what the user wrote counts.
 * @param {any} own @param {string | undefined} folder
 */
function provider(own = {}, folder) {
  const models = { ...listedModels().opencode1 }
  for (const [id, model] of Object.entries(own.models ?? {})) models[id] = merged(models[id], model)
  const headers = { ...projectHeaders(folder), ...own.options?.headers }
  const headed = Object.keys(headers).length ? { headers } : {}
  const options = { ...own.options, ...headed, baseURL: `${PLACEHOLDER}/v1`, apiKey: NO_KEY, fetch: send }
  // The catalogue of models.dev may list a provider of the same id, whose models would come on top.
  return { whitelist: Object.keys(models), ...own, name: own.name ?? "Kiro", npm: "@ai-sdk/anthropic", models, options }
}

/** Two names of one command. */
const SIGN_IN_COMMANDS = ["auth", "providers"]

/** Whether OpenCode was started with one of these commands. @param {string[]} commands */
const called = (commands) => process.argv.some((word) => commands.includes(word))

/** @param {{ client: any, directory?: string, worktree?: string }} input */
export const server = async ({ client, directory, worktree }) => {
  /** The project: the whole of it where OpenCode knows one, else the folder that it was started in. */
  const folder = worktree && worktree !== "/" ? worktree : directory
  /** @param {string} message @param {string} variant */
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
  /** @param {string} method */
  const authorize =
    (method) =>
    async (/** @type {Record<string, string>} */ answers = {}) => {
      const { id, ...shown } = await beginSignIn(method, answers)
      const callback = async () => {
        try {
          for (const notice of await endOfSignIn(id)) await tell(notice, "info")
          return { type: "success", key: NO_KEY }
        } catch (error) {
          await tell(error instanceof Error ? error.message : String(error), "error")
          return { type: "failed" }
        }
      }
      return { ...shown, method: "auto", callback }
    }
  /** The number of the last notice that this window has shown. */
  let last = 0
  // `opencode run` and its like have no window; there nothing is asked for that nobody would see.
  const watched = !called([...SIGN_IN_COMMANDS, "run", "models", "serve"])
  /** Shows what the gateway has to say; what a turn used is known a moment after it. */
  const showNews = async () => {
    await sleep(NEWS_SECONDS * 1000)
    const { notices, last: newest } = await news(last)
    last = newest
    for (const { message, variant } of notices) await toast(message, variant)
  }
  return {
    config: async (/** @type {any} */ config) => {
      if (!hasAccount() && !config.provider?.[ID]) return
      config.provider = { ...config.provider, [ID]: provider(config.provider?.[ID], folder) }
    },
    auth: {
      provider: ID,
      methods: METHODS.map(({ id, label, fields }) => ({
        type: "oauth",
        label,
        prompts: fields.map(({ title, ...field }) => ({ type: "text", message: title, ...field })),
        authorize: authorize(id),
      })),
    },
    event: async (/** @type {{ event: { type: string } }} */ { event }) => {
      if (event.type === "session.idle" && isTunnelOpen() && watched) showNews()
    },
  }
}
