// Whoever listens where the gateway was last may be a stranger. So nothing but a question goes out on a
// connection until its listener has proved that it knows the secret in our user's state file. OpenCode's own
// requests cannot ask first; they go to a listener inside this process, the tunnel, which does, and carries
// them over the connection that was proved. Neither the gateway's key nor its secret leaves this process.

import crypto from "node:crypto"
import { once } from "node:events"
import net from "node:net"
import { PLACEHOLDER, VERSION } from "./constants.js"
import { announced, start } from "./launch.js"
import { env } from "./machine.js"
import { isSame, prove, readHead } from "./proof.js"

/** What a request brings to the tunnel; only this process knows it. */
const TOKEN = crypto.randomBytes(32).toString("base64url")
/** A header that keeps the tunnel from starting a gateway. */
const ONLY_IF_RUNNING = "x-kiro-only-if-running"

/** @type {Promise<void> | undefined} */
let starting
/** The gateways of other versions that were asked to leave their place, by process; a newer one keeps it. @type {Set<number>} */
const asked = new Set()

/** A connection to the gateway that runs, or to a new one. @param {boolean} mayStart @returns {Promise<Line>} */
async function connect(mayStart) {
  const gateway = announced()
  const other = gateway && gateway.version !== VERSION && !asked.has(gateway.pid) && mayStart
  if (other) asked.add(gateway.pid)
  if (gateway && !other) {
    const line = await prove(gateway).catch(() => undefined)
    if (line) return line
  }
  if (!mayStart) throw new Error("no gateway runs")
  starting ??= start().finally(() => (starting = undefined)) // requests that come together share one start
  await starting
  const started = announced()
  if (!started) throw new Error("it ended as soon as it had begun")
  return prove(started)
}

/** An answer to OpenCode in the shape that it shows and does not repeat. @param {unknown} error */
function refusal(error) {
  const message = `The Kiro gateway did not start: ${error instanceof Error ? error.message : error}`
  return JSON.stringify({ type: "error", error: { type: "invalid_request_error", message } })
}

/** Takes one request from OpenCode to the gateway, and its answer back. @param {net.Socket} client */
async function carry(client) {
  client.on("error", () => client.destroy())
  const [head, begun] = await readHead(client)
  const lines = head.split("\r\n")
  const value = (/** @type {string} */ name) =>
    lines
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim()
  if (!isSame(value("x-api-key") ?? "", TOKEN)) return client.destroy()
  /** @type {Line} */
  let line
  try {
    line = await connect(!value(ONLY_IF_RUNNING))
  } catch (error) {
    const body = Buffer.from(refusal(error))
    client.write(`HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n`)
    client.end(Buffer.concat([Buffer.from("x-should-retry: false\r\nconnection: close\r\n\r\n"), body]))
    return client.resume() // the rest of the request is not wanted, but must be taken
  }
  const { socket, authorization } = line
  client.once("close", () => socket.destroy())
  // An answer that ended is still on its way to OpenCode; one that broke off must not look as if it had ended.
  socket.once("close", () => client.writableEnded || client.destroy())
  if (client.destroyed) return socket.destroy()
  const kept = lines.filter((line) => !/^(x-api-key|authorization|connection|x-kiro-only-if-running):/i.test(line))
  const sent = [...kept, `authorization: ${authorization}`, "connection: close", "", ""].join("\r\n")
  socket.write(Buffer.concat([Buffer.from(sent, "latin1"), begun]))
  client.pipe(socket)
  return socket.pipe(client)
}

/** @type {Promise<net.Server> | undefined} */
let tunnel

/** Where OpenCode's requests go, inside this process. */
export async function tunnelAddress() {
  useNoProxy()
  tunnel ??= listen().catch((error) => {
    tunnel = undefined
    throw error
  })
  const { port } = /** @type {net.AddressInfo} */ ((await tunnel).address())
  return `http://127.0.0.1:${port}`
}

/** Whether OpenCode has sent anything yet. */
export const isTunnelOpen = () => tunnel !== undefined

/** Take no more requests; those under way are finished. */
export async function closeTunnel() {
  const open = tunnel
  tunnel = undefined
  if (open) (await open).close()
}

/** @returns {Promise<net.Server>} */
async function listen() {
  const server = net.createServer({ noDelay: true }, (client) => void carry(client).catch(() => client.destroy()))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return server.unref()
}

/** The way to this machine leads through no proxy, which would see what is said. */
function useNoProxy() {
  const known = (env.no_proxy || env.NO_PROXY || "").split(",").filter(Boolean)
  env.NO_PROXY = env.no_proxy = [...new Set([...known, "127.0.0.1", "localhost", "::1"])].join(",")
}

/** The headers of a request, as the tunnel wants them. @param {HeadersInit | undefined} given */
export function withToken(given) {
  const headers = new Headers(given)
  headers.delete("authorization")
  headers.set("x-api-key", TOKEN)
  return headers
}

/** OpenCode's `fetch` for this provider in 1.x. @param {string | URL | Request} url @param {RequestInit} [init] */
export async function send(url, init = {}) {
  const target = String(url).replace(PLACEHOLDER, await tunnelAddress())
  return fetch(target, { ...init, headers: withToken(init.headers) })
}

/** A call to the gateway's control API. @param {string} route @param {unknown} [body] @returns {Promise<any>} */
export async function control(route, body) {
  const init = body
    ? { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }
    : {}
  const response = await send(`${PLACEHOLDER}/kiro/${route}`, init)
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error?.message ?? `status ${response.status}`)
  return answer
}

/** What a running gateway has to say that was not shown yet; `last` is the number of the notice shown last. @param {number} last */
export async function news(last) {
  const headers = { [ONLY_IF_RUNNING]: "1" }
  const response = await send(`${PLACEHOLDER}/kiro/notices?after=${last}`, { headers }).catch(() => undefined)
  const told = response?.ok ? await response.json().catch(() => undefined) : undefined
  return /** @type {{ last: number, notices: { message: string, variant: string }[] }} */ (
    told ?? { last, notices: [] }
  )
}
