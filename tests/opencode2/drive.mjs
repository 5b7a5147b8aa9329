// Lets a test drive the imitated host from outside: one JSON call a line in, one JSON answer a line out.
import { createHook } from "node:async_hooks"
import readline from "node:readline"
import { pathToFileURL } from "node:url"
import { Location, discover, load } from "./host2.mjs"

/** What is open in this process, also what would not keep it alive; the gateway that it started lives on. */
const open = new Map()
const KINDS = ["Timeout", "TCPSERVERWRAP", "TCPWRAP", "FSEVENTWRAP", "STATWATCHER"]
createHook({
  init: (id, type) => KINDS.includes(type) && open.set(id, type),
  destroy: (id) => open.delete(id),
}).enable()

const plugins = {}
const locations = {}
const signIns = {}

const calls = {
  discover: ({ root, listed }) => discover(root, listed),
  async load({ file }) {
    const plugin = await load(file)
    plugins[plugin.id] = plugin
    return { id: plugin.id, keys: Object.keys(plugin) }
  },
  async open({ location = "one", id = "kiro-auth", context, ...host }) {
    locations[location] = new Location(host)
    await locations[location].open(plugins[id], { context })
  },
  close: ({ location = "one" }) => locations[location].close(),
  available: ({ location = "one" }) =>
    locations[location].available().map(({ provider, models }) => ({ provider, models: [...models.values()] })),
  methods: ({ location = "one", integration = "kiro" }) => {
    const { name, methods } = locations[location].methods().get(integration) ?? { methods: new Map() }
    return { name, methods: [...methods.values()].map(({ method }) => method) }
  },
  reloads: ({ location = "one" }) => locations[location].reloads,
  async authorize({ location = "one", method, answer }) {
    const { shown, credential } = await locations[location].authorize("kiro", method, answer)
    signIns[method] = credential
    return shown
  },
  credential: ({ method }) => signIns[method],
  async request({ location = "one", model, ...more }) {
    const response = await locations[location].request("kiro", model, more)
    return { status: response.status, headers: Object.fromEntries(response.headers), text: await response.text() }
  },
  /** What the gateway would have its windows show. */
  async notices({ file }) {
    const { news } = await import(pathToFileURL(file).href)
    return (await news(0)).notices.map(({ message }) => message)
  },
  resources: () => [...open.values()].sort(),
  /** The part for the window, in an imitation of its context: what it shows after a turn, or after some. */
  async window({ file, turns = 1 }) {
    const { default: part } = await import(pathToFileURL(file).href)
    const toasts = []
    const heard = {}
    const on = (type, callback) => {
      heard[type] = callback
      return () => delete heard[type]
    }
    const close = part.setup({ ui: { toast: { show: (toast) => toasts.push(toast) } }, data: { on } })
    for (; turns && !toasts.length; turns--) {
      heard["session.execution.succeeded"]()
      await new Promise((wake) => setTimeout(wake, 3500))
    }
    close()
    if (Object.keys(heard).length) throw new Error("it still listens")
    return toasts
  },
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { call, ...given } = JSON.parse(line)
  const answer = await Promise.resolve()
    .then(() => calls[call](given))
    .then((result) => ({ result }))
    .catch((error) => ({ error: error.message }))
  console.log(JSON.stringify(answer))
}
process.exit() // what is left open is for a test to see, not to wait for
