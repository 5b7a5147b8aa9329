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

/** How Linux writes the addresses that a listener may have so that a connection to ours reaches it. @type {Record<string, string[]>} */
const LISTENING_AT = {
  "127.0.0.1": ["0100007F", "00000000", "0".repeat(32), "0000000000000000FFFF00000100007F"],
  "::1": ["00000000000000000000000001000000", "0".repeat(32)],
}

/** Whether another user of this machine listens at the gateway's address; only Linux tells. @param {Gateway} gateway */
function isAnotherUsers({ host, port }) {
  const places = LISTENING_AT[host] ?? []
  const wanted = places.map((place) => `${place}:${port.toString(16).toUpperCase().padStart(4, "0")}`)
  return ["/proc/net/tcp", "/proc/net/tcp6"].some((table) =>
    linesOf(table).some((line) => {
      const [, at, , state, , , , user] = line.trim().split(/\s+/)
      return state === "0A" && wanted.includes(at) && Number(user) !== process.getuid?.()
    }),
  )
}

/** The lines of a file, none where it is not there. @param {string} file */
function linesOf(file) {
  try {
    return fs.readFileSync(file, "latin1").split("\n")
  } catch {
    return []
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
