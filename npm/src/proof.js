import crypto from "node:crypto"
import fs from "node:fs"
import net from "node:net"

/** @typedef {{ host: string, port: number, secret: string, pid: number, version: string }} Gateway */
/** @typedef {{ socket: net.Socket, authorization: string }} Line a connection whose listener has proved itself */

const PROOF_SECONDS = 1.5
const HEAD_BYTES = 65536

/** Whether two texts are the same, in a time that does not tell how far. @param {string} one @param {string} other */
export function isSame(one, other) {
  const [a, b] = [one, other].map((text) => crypto.createHash("sha256").update(text).digest())
  return crypto.timingSafeEqual(a, b)
}

/** The head of an HTTP message, and the bytes that came behind it. @param {net.Socket} socket @returns {Promise<[string, Buffer]>} */
export function readHead(socket) {
  return new Promise((done, failed) => {
    let read = Buffer.alloc(0)
    /** @param {Buffer} chunk */
    const take = (chunk) => {
      read = Buffer.concat([read, chunk])
      const end = read.indexOf("\r\n\r\n")
      if (end < 0 && read.length < HEAD_BYTES) return
      socket.off("data", take)
      socket.pause()
      if (end < 0) failed(new Error("the head of the message is too long"))
      else done([read.subarray(0, end).toString("latin1"), read.subarray(end + 4)])
    }
    socket.on("data", take)
    socket.once("close", () => failed(new Error("the connection was closed")))
  })
}

/** How Linux writes the addresses at which a listener gets the connections to ours, the narrowest first. @type {Record<string, string[]>} */
const LISTENING_AT = {
  "127.0.0.1": ["0100007F", "00000000", "0000000000000000FFFF00000100007F", "0".repeat(32)],
  "::1": ["00000000000000000000000001000000", "0".repeat(32)],
}
const LISTENS = "0A"
const LINE_BYTES = 150

/** Whether another user of this machine listens at the gateway's address; only Linux tells. @param {Gateway} gateway */
function isAnotherUsers({ host, port }) {
  const own = process.getuid?.()
  const digits = port.toString(16).toUpperCase().padStart(4, "0")
  const [exact, ...wider] = (LISTENING_AT[host] ?? []).map((address) => `${address}:${digits}`)
  const users = new Map()
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"])
    for (const [at, user] of listeners(table)) {
      if (at === exact) return user !== own // it takes the connection from those at wider addresses
      users.set(at, user)
    }
  const at = wider.find((at) => users.has(at))
  return at !== undefined && users.get(at) !== own
}

/** The user of each address that is listened at. @param {string} table @returns {Generator<[string, number]>} */
function* listeners(table) {
  for (const line of lines(table)) {
    const [, at, , state, , , , user] = line.trim().split(/\s+/)
    if (state === LISTENS) yield [at, Number(user)]
    else if (at?.includes(":")) return // those that listen come first
  }
}

/** The lines of a table of Linux; none elsewhere. @param {string} table */
function* lines(table) {
  const file = fs.existsSync(table) ? fs.openSync(table, "r") : undefined
  if (file === undefined) return
  try {
    let text = ""
    // A line at a time: to fill a larger buffer the kernel would walk through all connections.
    for (const read = Buffer.alloc(LINE_BYTES); ;) {
      const size = fs.readSync(file, read, 0, LINE_BYTES, null)
      if (!size) return
      const whole = (text + read.toString("latin1", 0, size)).split("\n")
      text = whole.pop() ?? ""
      yield* whole
    }
  } finally {
    fs.closeSync(file)
  }
}

/** A connection to the gateway that has proved itself on it. Rejects when there is none. @param {Gateway} gateway @returns {Promise<Line>} */
export async function prove(gateway) {
  const { host, port, secret } = gateway
  if (!port || !secret) throw new Error("no gateway is announced")
  if (isAnotherUsers(gateway)) throw new Error("another user listens there")
  const socket = net.connect({ host, port, noDelay: true }) // else it waits 40 ms between two writes
  socket.on("error", () => socket.destroy())
  const timer = setTimeout(() => socket.destroy(), PROOF_SECONDS * 1000)
  try {
    const [question, at] = [crypto.randomBytes(32).toString("base64url"), `${host}:${port}`]
    const name = host.includes(":") ? `[${host}]:${port}` : at
    socket.write(`GET /kiro/proof HTTP/1.1\r\nhost: ${name}\r\nx-kiro-nonce: ${question}\r\n\r\n`)
    const [head] = await readHead(socket)
    const field = (/** @type {string} */ name) => head.match(new RegExp(`^${name}: *(\\S+)`, "im"))?.[1] ?? ""
    const answer = field("x-kiro-nonce")
    const proof = (/** @type {string} */ side) =>
      crypto
        .createHmac("sha256", secret)
        .update([`kiro-auth ${side}`, at, question, answer].join("\n"))
        .digest("hex")
    if (!isSame(field("x-kiro-proof"), proof("gateway"))) throw new Error("the listener there is not the gateway")
    return { socket, authorization: `KiroProof ${question}:${answer}:${proof("caller")}` }
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}
