// Loads the plugin as OpenCode 1.x does, sends one request by the provider that it configures, prints what comes.
import { pathToFileURL } from "node:url"

const { default: plugin } = await import(pathToFileURL(process.argv[2]))
const hooks = await plugin.server({ client: { tui: { showToast: async () => {} } } })
const config = {}
await hooks.config(config)
const { baseURL, apiKey, fetch } = config.provider.kiro.options
const response = await fetch(`${baseURL}/messages`, {
  method: "POST",
  headers: { "content-type": "application/json", "x-api-key": apiKey },
  body: JSON.stringify({ model: "claude-sonnet-4-5", messages: [{ role: "user", content: "How many?" }], tools: [{}] }),
})
console.log(JSON.stringify({ status: response.status, text: await response.text() }))
process.exit()
