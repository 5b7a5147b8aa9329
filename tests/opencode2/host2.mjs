// Imitates the plugin host of OpenCode 2.0.4 to 2.3, as far as its source, its documentation and the logs of
// its users tell: it refuses what that refuses, replays transforms on fresh values, and freezes what it is given.
import fs from "node:fs"
import path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const REFUSED = "Plugin must export a default definition with an id and an effect or setup function."

/** What is at a path: "file", "folder" or "". */
function kindOf(file) {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  return stat?.isFile() ? "file" : stat?.isDirectory() ? "folder" : ""
}

function deeplyFrozen(value) {
  if (value && typeof value === "object") Object.values(Object.freeze(value)).forEach(deeplyFrozen)
  return value
}

// ------------------------------------------------------------------------------ finding and loading

/** The file that stands for a folder. */
function entryOf(folder, names) {
  const described = path.join(folder, "package.json")
  const written = kindOf(described) ? JSON.parse(fs.readFileSync(described, "utf8")) : {}
  const told = [written.exports, written.module, written.main].filter((name) => typeof name === "string")
  return [...told, ...names].map((name) => path.resolve(folder, name)).find((file) => kindOf(file) === "file")
}

/** The files that a configuration folder and its list `plugins` make the host load. */
export function discover(root, listed = []) {
  const folders = ["plugin", "plugins"].map((name) => path.join(root, name)).filter((folder) => kindOf(folder))
  const children = folders.flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name))).sort()
  const dropped = children.map((child) => {
    if (kindOf(child) === "folder") return entryOf(child, ["index.ts", "index.js"])
    return /\.[jt]s$/.test(child) ? child : undefined
  })
  const named = listed.map((item) => {
    const target = typeof item === "string" ? item : item.package
    const local = target.startsWith("file://") ? fileURLToPath(target) : path.resolve(root, target)
    if (kindOf(local) !== "folder") throw new Error("configured plugin path must be a directory")
    return entryOf(local, ["server.ts", "server.js", "index.ts", "index.js"])
  })
  return [...dropped, ...named].filter(Boolean)
}

/** Load a plugin: a copy that holds its id and setup, and nothing else. */
export async function load(file) {
  const { default: exported } = await import(`${pathToFileURL(file).href}?${Math.random()}`)
  if (exported === undefined) throw new Error(`${REFUSED} (cause: Missing key at ["default"])`)
  if (typeof exported !== "object" || !exported) throw new Error(`${REFUSED} (cause: Expected object at ["default"])`)
  if (typeof exported.id !== "string") throw new Error(`${REFUSED} (cause: Missing key at ["default"]["id"])`)
  if (typeof exported.setup !== "function") throw new Error(`${REFUSED} (cause: Missing key at ["default"]["setup"])`)
  return { id: exported.id, setup: exported.setup }
}

// ------------------------------------------------------------------------------------- one location

/** One location (project) of the long-lived service, with one plugin in it. */
export class Location {
  #registered = { provider: [], integration: [], hook: [] }
  #cleanup
  reloads = []
  connections = {}

  constructor({ catalogue = [], integrations = {} } = {}) {
    this.catalogue = catalogue
    this.integrations = integrations
  }

  /** Call the plugin's setup, with the context of a release. */
  async open(plugin, { context = "2.3.2" } = {}) {
    const domain = (name) => ({
      transform: async (callback) => this.#register(name, callback),
      reload: async () => void this.reloads.push(name),
    })
    const integration = domain("integration")
    const session = { hook: async (name, callback, scope) => this.#register("hook", { name, callback, scope }) }
    const contexts = {
      // What 1.17 and 1.18 hand over beside calling `server`.
      preview: { options: {}, agent: {}, aisdk: {}, catalog: domain("provider"), command: {}, integration },
      // 2.0.0 to 2.0.3: one domain for providers and models, of another shape.
      "2.0.3": { options: {}, app: { version: "2.0.3" }, catalog: domain("provider"), integration, session },
      "2.3.2": {
        ...{ options: {}, app: { version: "2.3.2" }, location: { directory: process.cwd(), project: { id: "p" } } },
        ...{ provider: domain("provider"), integration, session },
      },
    }
    this.#cleanup = await plugin.setup(contexts[context])
  }

  async close() {
    await this.#cleanup?.()
    this.#registered = { provider: [], integration: [], hook: [] }
  }

  #register(name, item) {
    const list = this.#registered[name]
    list.push(item)
    return { dispose: async () => void list.splice(list.indexOf(item) >>> 0, 1) }
  }

  #replay(name, editor) {
    for (const edit of this.#registered[name]) {
      if (edit(editor)?.then) throw new Error("a transform is synchronous")
    }
  }

  /** All providers; every read replays the transforms on a fresh value. */
  #providers() {
    const all = new Map()
    const put = ({ info, models }) => {
      const frozen = models.map((model) => [model.id, deeplyFrozen(model)])
      all.set(info.id, { provider: structuredClone(info), models: new Map(frozen) })
    }
    this.catalogue.forEach(put)
    this.#replay("provider", {
      add: put,
      list: () => [...all.values()],
      get: (id) => all.get(id),
      remove: (id) => all.delete(id),
    })
    return all
  }

  /** The ways to sign in, by integration and method. */
  methods() {
    const all = new Map()
    const of = (id, name = id) => {
      if (!all.has(id)) all.set(id, { id, name, methods: new Map() })
      return all.get(id)
    }
    Object.entries(this.integrations).forEach(([id, name]) => of(id, name))
    this.#replay("integration", {
      list: () => [...all.values()],
      get: (id) => all.get(id),
      update: (id, change) => change(of(id)),
      method: {
        list: (id) => [...of(id).methods.values()].map(({ method }) => method),
        update: (one) => {
          if (one.method.form?.length === 0) throw new Error("a form needs a field")
          of(one.integrationID).methods.set(one.method.id, one)
        },
        remove: (id, method) => of(id).methods.delete(method),
      },
    })
    return all
  }

  /** The providers that can be chosen, with their models. */
  available() {
    const connected = (id) => this.connections[id]?.length > 0 || !this.methods().has(id)
    return [...this.#providers().values()].filter(({ provider }) => {
      if (provider.activation === "enabled") return true
      return provider.activation === "auto" && connected(provider.integrationID ?? provider.id)
    })
  }

  /** Begin a sign-in, as `opencode auth login` and /connect do; `callback` is how it ends. */
  async authorize(integrationID, methodID, answer = {}) {
    const found = this.methods().get(integrationID).methods.get(methodID)
    const fields = found.method.form?.map((field) => field.key) ?? []
    const unknown = Object.keys(answer).filter((key) => !fields.includes(key))
    if (unknown.length) throw new Error(`unknown field ${unknown}`)
    const { callback, ...shown } = await found.authorize(answer)
    if (shown.mode !== "auto") throw new Error("this host knows the mode auto alone")
    const credential = Promise.resolve(callback).then((value) => {
      const whole = value.type === "oauth" && value.methodID === methodID && typeof value.refresh === "string"
      if (!whole || !(value.expires >= 0)) throw new Error("no credential")
      this.connections[integrationID] = [{ type: "credential", value }, ...(this.connections[integrationID] ?? [])]
      return value
    })
    credential.catch(() => {})
    return { shown, credential }
  }

  /** One request of a step; a hook that throws ends the step without a readable message. */
  async request(providerID, modelID, { variant, kind = "primary", sessionID = "ses_1", body = {}, base } = {}) {
    const { provider, models } = this.available().find((one) => one.provider.id === providerID) ?? {}
    const model = models?.get(modelID)
    if (!model?.enabled) throw new Error(`Model unavailable: ${providerID}/${modelID}`)
    const chosen = variant ? model.variants.find((one) => one.id === variant) : {}
    if (!chosen) throw new Error(`Variant unavailable: ${providerID}/${modelID}#${variant}`)
    // Settings are JSON to the host: a function in them does not survive.
    const settings = JSON.parse(JSON.stringify({ ...provider.settings, ...model.settings, ...chosen.settings }))
    const held = this.connections[provider.integrationID ?? providerID]?.[0]?.value
    const sent = {
      model: model.modelID,
      stream: true,
      max_tokens: Math.min(model.limit.output, 256000),
      ...(settings.thinking && {
        thinking: { type: settings.thinking.type, budget_tokens: settings.thinking.budgetTokens },
      }),
      ...(settings.effort && { output_config: { effort: settings.effort } }),
      ...body,
    }
    const init = {
      method: "POST",
      headers: {
        ...(held ? { authorization: `Bearer ${held.access}` } : { "x-api-key": settings.apiKey }),
        ...{ "content-type": "application/json", "anthropic-version": "2023-06-01" },
        ...{ "x-session-affinity": sessionID, "x-opencode-session-id": sessionID },
      },
      body: JSON.stringify(sent),
    }
    const event = { sessionID, agent: "build", kind, model: { providerID, id: modelID, variant } }
    const asked = new Request(`${base ?? settings.baseURL}/messages`, init)
    const { request } = await this.#trigger("http.request", { ...event, request: asked })
    const response = await fetch(request.clone())
    return (await this.#trigger("http.response", { ...event, request, response })).response
  }

  async #trigger(name, event) {
    for (const hook of this.#registered.hook) {
      if (hook.name === name && [undefined, event.model.providerID].includes(hook.scope?.providerID)) {
        await hook.callback(event)
      }
    }
    return event
  }
}
