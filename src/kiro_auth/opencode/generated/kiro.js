// kiro-auth OpenCode plugin 0.1.0
//
// One file for OpenCode 1.14 to 1.18, which call `server`, and for 2.0.4 and newer, which call `setup`.
// Thin on purpose: it tells OpenCode which models there are, and carries their requests to the gateway on this
// machine, which is found or started with the first request. People without a Kiro account notice nothing:
// no process, no connection, no file.
//
// Made of the modules in npm/src of the project; change those.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import crypto from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { spawn } from 'node:child_process';

/** The command that starts the gateway, as the installer wrote it; without one the program is looked for. @type {string[] | null} */
const START = null;
const VERSION = "0.1.0";
/** The environment variables that a gateway may see: names, or beginnings of names before a `*`. */
const VARIABLES = ["HOME","USER","LOGNAME","PATH","TMPDIR","TEMP","TMP","XDG_CONFIG_HOME","XDG_STATE_HOME","XDG_DATA_HOME","XDG_CACHE_HOME","SystemRoot","SystemDrive","WINDIR","COMSPEC","PATHEXT","ProgramData","APPDATA","LOCALAPPDATA","USERPROFILE","USERNAME","HOMEDRIVE","HOMEPATH","DBUS_SESSION_BUS_ADDRESS","XDG_RUNTIME_DIR","LANG","LC_*","TZ","HTTP_PROXY","HTTPS_PROXY","ALL_PROXY","NO_PROXY","SSL_CERT_FILE","SSL_CERT_DIR","KIRO_*","PG*"];
/** Those of them that name one file or folder. */
const PATHS = ["HOME","USERPROFILE","TMPDIR","TEMP","TMP","APPDATA","LOCALAPPDATA","XDG_CONFIG_HOME","XDG_STATE_HOME","XDG_DATA_HOME","XDG_CACHE_HOME","SSL_CERT_FILE","SSL_CERT_DIR","KIRO_STORE_KEY_FILE","KIRO_TLS_CERT","KIRO_TLS_KEY","PGPASSFILE","PGSERVICEFILE","PGSYSCONFDIR","PGSSLCERT","PGSSLKEY","PGSSLROOTCERT","PGSSLCRL","PGSSLCRLDIR"];
/** The models until the gateway has written down those of the user's plan. @type {Models} */
const USUAL_MODELS = {"opencode1":{"auto":{"name":"Auto","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":false,"tool_call":true,"temperature":true,"modalities":{"input":["text","image","pdf"],"output":["text"]},"cost":{"input":0,"output":0}},"claude-sonnet-4-5":{"name":"Claude Sonnet 4.5","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":true,"tool_call":true,"temperature":true,"modalities":{"input":["text","image","pdf"],"output":["text"]},"cost":{"input":0,"output":0},"variants":{"low":{"thinking":{"type":"enabled","budgetTokens":8192}},"medium":{"thinking":{"type":"enabled","budgetTokens":16384}},"high":{"thinking":{"type":"enabled","budgetTokens":24576}},"xhigh":{"disabled":true},"max":{"thinking":{"type":"enabled","budgetTokens":32768}}}},"claude-sonnet-4-5-thinking":{"name":"Claude Sonnet 4.5 Thinking","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":false,"tool_call":true,"temperature":true,"modalities":{"input":["text","image","pdf"],"output":["text"]},"cost":{"input":0,"output":0},"variants":{"low":{"thinking":{"type":"enabled","budgetTokens":8192}},"medium":{"thinking":{"type":"enabled","budgetTokens":16384}},"high":{"thinking":{"type":"enabled","budgetTokens":24576}},"xhigh":{"disabled":true},"max":{"thinking":{"type":"enabled","budgetTokens":32768}}}},"claude-haiku-4-5":{"name":"Claude Haiku 4.5","limit":{"context":200000,"output":64000},"attachment":true,"reasoning":false,"tool_call":true,"temperature":true,"modalities":{"input":["text","image"],"output":["text"]},"cost":{"input":0,"output":0},"family":"claude-haiku"}},"opencode2":[{"id":"auto","modelID":"auto","providerID":"kiro","name":"Auto","capabilities":{"tools":true,"input":["text","image","pdf"],"output":["text"]},"limit":{"context":200000,"output":64000},"variants":[],"cost":[],"status":"active","enabled":true,"time":{"released":0},"compatibility":{"supportsEffortUpdates":false,"supportsThinkingBlockBinding":false}},{"id":"claude-sonnet-4-5","modelID":"claude-sonnet-4-5","providerID":"kiro","name":"Claude Sonnet 4.5","family":"claude-sonnet","capabilities":{"tools":true,"input":["text","image","pdf"],"output":["text"]},"limit":{"context":200000,"output":64000},"variants":[{"id":"low","settings":{"thinking":{"type":"enabled","budgetTokens":8192}}},{"id":"medium","settings":{"thinking":{"type":"enabled","budgetTokens":16384}}},{"id":"high","settings":{"thinking":{"type":"enabled","budgetTokens":24576}}},{"id":"max","settings":{"thinking":{"type":"enabled","budgetTokens":32768}}}],"cost":[],"status":"active","enabled":true,"time":{"released":0},"compatibility":{"supportsEffortUpdates":false,"supportsThinkingBlockBinding":false}},{"id":"claude-sonnet-4-5-thinking","modelID":"claude-sonnet-4-5-thinking","providerID":"kiro","name":"Claude Sonnet 4.5 Thinking","family":"claude-sonnet","capabilities":{"tools":true,"input":["text","image","pdf"],"output":["text"]},"limit":{"context":200000,"output":64000},"variants":[{"id":"low","settings":{"thinking":{"type":"enabled","budgetTokens":8192}}},{"id":"medium","settings":{"thinking":{"type":"enabled","budgetTokens":16384}}},{"id":"high","settings":{"thinking":{"type":"enabled","budgetTokens":24576}}},{"id":"max","settings":{"thinking":{"type":"enabled","budgetTokens":32768}}}],"cost":[],"status":"active","enabled":true,"time":{"released":0},"compatibility":{"supportsEffortUpdates":false,"supportsThinkingBlockBinding":false}},{"id":"claude-haiku-4-5","modelID":"claude-haiku-4-5","providerID":"kiro","name":"Claude Haiku 4.5","family":"claude-haiku","capabilities":{"tools":true,"input":["text","image"],"output":["text"]},"limit":{"context":200000,"output":64000},"variants":[],"cost":[],"status":"active","enabled":true,"time":{"released":0},"compatibility":{"supportsEffortUpdates":false,"supportsThinkingBlockBinding":false}}],"default":"auto"};

/** @typedef {{ opencode1: Record<string, any>, opencode2: any[], default?: string }} Models
 *   the list in the words of either generation, and the model that Kiro names as the one to begin with */

const ID = "kiro";
/** Stands in for the gateway's address in OpenCode's settings; never resolved. */
const PLACEHOLDER = "http://kiro.invalid";
/** Stands in for a key wherever OpenCode wants one. */
const NO_KEY = "kept-by-the-gateway";

const windows = process.platform === "win32";
const { env } = process;

/** The program's own folders; folders.py follows the same rules. */
const home = os.homedir();
const CONFIG = path.join(
  (windows ? env.APPDATA : env.XDG_CONFIG_HOME) || path.join(home, windows ? "AppData/Roaming" : ".config"),
  "opencode",
);
const STATE = path.join(
  (windows ? env.LOCALAPPDATA : env.XDG_STATE_HOME) || path.join(home, windows ? "AppData/Local" : ".local/state"),
  "kiro-auth",
);
const ACCOUNTS_FILE = path.join(CONFIG, "kiro-accounts.json");
const MODELS_FILE = path.join(STATE, "models.json");
const LOG_FILE = path.join(STATE, "gateway.log");

/** @param {number} ms @param {AbortSignal} [signal] */
const sleep = (ms, signal) =>
  new Promise((wake) => {
    const timer = setTimeout(wake, ms);
    signal?.addEventListener("abort", () => wake(clearTimeout(timer)), { once: true });
  });

/** The JSON in a file, or undefined. @param {string} file */
function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"))
  } catch {
    return undefined
  }
}

/** Whether there is anybody to work for. */
const hasAccount = () => Boolean(env.KIRO_API_KEY || readJson(ACCOUNTS_FILE)?.accounts?.length > 0);

/** The models as the gateway wrote them down last. @returns {Models} */
function listedModels() {
  const { opencode1, opencode2 } = readJson(MODELS_FILE) ?? {};
  return opencode1 && opencode2 ? { opencode1, opencode2 } : USUAL_MODELS
}

/**
 * The headers that tell the gateway which project a request is of, where its options ask for them.
 * @param {string | undefined} folder @returns {Record<string, string>}
 */
function projectHeaders(folder) {
  const name = path.basename(folder ?? "");
  return name && readJson(MODELS_FILE)?.projects ? { "x-kiro-project": encodeURIComponent(name) } : {}
}

/** @typedef {{ host: string, port: number, secret: string, pid: number, version: string }} Gateway */
/** @typedef {{ socket: net.Socket, authorization: string }} Line a connection whose listener has proved itself */

const PROOF_SECONDS = 1.5;
const HEAD_BYTES = 65536;

/** Whether two texts are the same, in a time that does not tell how far. @param {string} one @param {string} other */
function isSame(one, other) {
  const [a, b] = [one, other].map((text) => crypto.createHash("sha256").update(text).digest());
  return crypto.timingSafeEqual(a, b)
}

/** The head of an HTTP message, and the bytes that came behind it. @param {net.Socket} socket @returns {Promise<[string, Buffer]>} */
function readHead(socket) {
  return new Promise((done, failed) => {
    let read = Buffer.alloc(0);
    /** @param {Buffer} chunk */
    const take = (chunk) => {
      read = Buffer.concat([read, chunk]);
      const end = read.indexOf("\r\n\r\n");
      if (end < 0 && read.length < HEAD_BYTES) return
      socket.off("data", take);
      socket.pause();
      if (end < 0) failed(new Error("the head of the message is too long"));
      else done([read.subarray(0, end).toString("latin1"), read.subarray(end + 4)]);
    };
    socket.on("data", take);
    socket.once("close", () => failed(new Error("the connection was closed")));
  })
}

/** How Linux writes the addresses at which a listener gets the connections to ours, the narrowest first. @type {Record<string, string[]>} */
const LISTENING_AT = {
  "127.0.0.1": ["0100007F", "00000000", "0000000000000000FFFF00000100007F", "0".repeat(32)],
  "::1": ["00000000000000000000000001000000", "0".repeat(32)],
};
const LISTENS = "0A";
const LINE_BYTES = 150;

/** Whether another user of this machine listens at the gateway's address; only Linux tells. @param {Gateway} gateway */
function isAnotherUsers({ host, port }) {
  const own = process.getuid?.();
  const digits = port.toString(16).toUpperCase().padStart(4, "0");
  const [exact, ...wider] = (LISTENING_AT[host] ?? []).map((address) => `${address}:${digits}`);
  const users = new Map();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"])
    for (const [at, user] of listeners(table)) {
      if (at === exact) return user !== own // it takes the connection from those at wider addresses
      users.set(at, user);
    }
  const at = wider.find((at) => users.has(at));
  return at !== undefined && users.get(at) !== own
}

/** The user of each address that is listened at. @param {string} table @returns {Generator<[string, number]>} */
function* listeners(table) {
  for (const line of lines(table)) {
    const [, at, , state, , , , user] = line.trim().split(/\s+/);
    if (state === LISTENS) yield [at, Number(user)];
    else if (at?.includes(":")) return // those that listen come first
  }
}

/** The lines of a table of Linux; none elsewhere. @param {string} table */
function* lines(table) {
  const file = fs.existsSync(table) ? fs.openSync(table, "r") : undefined;
  if (file === undefined) return
  try {
    let text = "";
    // A line at a time: to fill a larger buffer the kernel would walk through all connections.
    for (const read = Buffer.alloc(LINE_BYTES); ;) {
      const size = fs.readSync(file, read, 0, LINE_BYTES, null);
      if (!size) return
      const whole = (text + read.toString("latin1", 0, size)).split("\n");
      text = whole.pop() ?? "";
      yield* whole;
    }
  } finally {
    fs.closeSync(file);
  }
}

/** A connection to the gateway that has proved itself on it. Rejects when there is none. @param {Gateway} gateway @returns {Promise<Line>} */
async function prove(gateway) {
  const { host, port, secret } = gateway;
  if (!port || !secret) throw new Error("no gateway is announced")
  if (isAnotherUsers(gateway)) throw new Error("another user listens there")
  const socket = net.connect({ host, port, noDelay: true }); // else it waits 40 ms between two writes
  socket.on("error", () => socket.destroy());
  const timer = setTimeout(() => socket.destroy(), PROOF_SECONDS * 1000);
  try {
    const [question, at] = [crypto.randomBytes(32).toString("base64url"), `${host}:${port}`];
    const name = host.includes(":") ? `[${host}]:${port}` : at;
    socket.write(`GET /kiro/proof HTTP/1.1\r\nhost: ${name}\r\nx-kiro-nonce: ${question}\r\n\r\n`);
    const [head] = await readHead(socket);
    const field = (/** @type {string} */ name) => head.match(new RegExp(`^${name}: *(\\S+)`, "im"))?.[1] ?? "";
    const answer = field("x-kiro-nonce");
    const proof = (/** @type {string} */ side) =>
      crypto
        .createHmac("sha256", secret)
        .update([`kiro-auth ${side}`, at, question, answer].join("\n"))
        .digest("hex");
    if (!isSame(field("x-kiro-proof"), proof("gateway"))) throw new Error("the listener there is not the gateway")
    return { socket, authorization: `KiroProof ${question}:${answer}:${proof("caller")}` }
  } catch (error) {
    socket.destroy();
    throw error
  } finally {
    clearTimeout(timer);
  }
}

const START_SECONDS = 20;
/** Between two looks for the gateway, which begins within a few tenths of a second. */
const LOOK_MS = 10;

/** The program on the PATH; what lies in the folder of the day is not ours to run. */
function programOnPath() {
  const names = windows ? ["kiro-auth.exe", "kiro-auth.cmd"] : ["kiro-auth"];
  const folders = (env.PATH ?? "").split(path.delimiter).filter(path.isAbsolute);
  const files = folders.flatMap((folder) => names.map((name) => path.join(folder, name)));
  const found = files.find((file) => fs.existsSync(file));
  if (!found)
    throw new Error(
      "The program kiro-auth is not on your PATH. The README of opencode-kiro-auth says how to install it",
    )
  return [found, "serve", "--quiet", "--idle-minutes", "30"]
}

/**
 * The value of a variable; a relative path counts from our folder, as the gateway runs in the home. libpq takes
 * some words in place of a path.
 * @param {string} name @param {string} value
 */
function whole(name, value) {
  if (/^KIRO_/i.test(name)) value = value.trim(); // as it is read
  const isPath = PATHS.includes(name.toUpperCase()) && value && !/^PGSSL\w+=(system$|\w+:)/i.test(`${name}=${value}`);
  if (!isPath || path.isAbsolute(value)) return value
  try {
    return `${process.cwd()}${path.sep}${value}`
  } catch {
    return value // the folder is gone
  }
}

/** What the gateway may see of the environment, each path whole. */
function keptEnvironment() {
  const kept = Object.entries(env).filter(([name]) =>
    VARIABLES.some((wanted) =>
      wanted.endsWith("*")
        ? name.toUpperCase().startsWith(wanted.slice(0, -1))
        : name.toUpperCase() === wanted.toUpperCase(),
    ),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, whole(name, value ?? "")]))
}

/** The gateway's log, which also takes what it says before it writes there itself, even when we are gone. */
function openLog() {
  fs.mkdirSync(STATE, { recursive: true, mode: 0o700 });
  return fs.openSync(LOG_FILE, "a", 0o600)
}

/** What a line of the log says: a record as JSON, or text as it is. @param {string} line */
function messageOf(line) {
  try {
    return String(JSON.parse(line).message ?? line)
  } catch {
    return line
  }
}

/** The last line with words in the log, after so many bytes. @param {number} start */
function lastLine(start) {
  const lines = fs.readFileSync(LOG_FILE).subarray(start).toString().split("\n");
  const line = lines.filter((line) => /\w/.test(line)).pop();
  return line && messageOf(line).replace(/^error: /, "")
}

/** @returns {Gateway | undefined} */
const announced = () => readJson(path.join(STATE, "gateway.json"));

/** Start a gateway and wait until one proves itself: the new one, or another that was faster. */
async function start() {
  const before = announced();
  const [program, ...words] = START ?? programOnPath();
  const log = openLog();
  const { size } = fs.fstatSync(log);
  const stdio = /** @type {import("node:child_process").StdioOptions} */ (["ignore", "ignore", log]);
  const child = spawn(program, words, { cwd: home, env: keptEnvironment(), detached: true, stdio, windowsHide: true });
  fs.closeSync(log);
  /** @type {string | undefined} */
  let failed;
  child.on("error", (error) => (failed = `${error.message}. Run again: kiro-auth install opencode`));
  /** @type {number | string | null | undefined} */
  let status;
  child.on("exit", (code, signal) => (status = code ?? signal));
  child.unref();
  const end = Date.now() + START_SECONDS * 1000;
  while (!failed && !status && Date.now() < end) {
    await sleep(LOOK_MS);
    const gateway = announced();
    // One that ended without a fault left the place to another: a faster one, or an older one that keeps it.
    if (!gateway || (status !== 0 && gateway.pid === before?.pid)) continue
    const line = await prove(gateway).catch(() => undefined);
    line?.socket.destroy();
    if (line) return
  }
  if (failed) throw new Error(failed)
  const reason = status ? (lastLine(size) ?? `exit code ${status}`) : `no answer in ${START_SECONDS} seconds`;
  throw new Error(`${reason} (see ${LOG_FILE})`)
}

// Whoever listens where the gateway was last may be a stranger. So nothing but a question goes out on a
// connection until its listener has proved that it knows the secret in our user's state file. OpenCode's own
// requests cannot ask first; they go to a listener inside this process, the tunnel, which does, and carries
// them over the connection that was proved. Neither the gateway's key nor its secret leaves this process.


/** What a request brings to the tunnel; only this process knows it. */
const TOKEN = crypto.randomBytes(32).toString("base64url");
/** A header that keeps the tunnel from starting a gateway. */
const ONLY_IF_RUNNING = "x-kiro-only-if-running";

/** @type {Promise<void> | undefined} */
let starting;
/** The gateways of other versions that were asked to leave their place, by process; a newer one keeps it. @type {Set<number>} */
const asked = new Set();

/** A connection to the gateway that runs, or to a new one. @param {boolean} mayStart @returns {Promise<Line>} */
async function connect(mayStart) {
  const gateway = announced();
  const other = gateway && gateway.version !== VERSION && !asked.has(gateway.pid) && mayStart;
  if (other) asked.add(gateway.pid);
  if (gateway && !other) {
    const line = await prove(gateway).catch(() => undefined);
    if (line) return line
  }
  if (!mayStart) throw new Error("no gateway runs")
  starting ??= start().finally(() => (starting = undefined)); // requests that come together share one start
  await starting;
  const started = announced();
  if (!started) throw new Error("it ended as soon as it had begun")
  return prove(started)
}

/** An answer to OpenCode in the shape that it shows and does not repeat. @param {unknown} error */
function refusal(error) {
  const message = `The Kiro gateway did not start: ${error instanceof Error ? error.message : error}`;
  return JSON.stringify({ type: "error", error: { type: "invalid_request_error", message } })
}

/** Takes one request from OpenCode to the gateway, and its answer back. @param {net.Socket} client */
async function carry(client) {
  client.on("error", () => client.destroy());
  const [head, begun] = await readHead(client);
  const lines = head.split("\r\n");
  const value = (/** @type {string} */ name) =>
    lines
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim();
  if (!isSame(value("x-api-key") ?? "", TOKEN)) return client.destroy()
  /** @type {Line} */
  let line;
  try {
    line = await connect(!value(ONLY_IF_RUNNING));
  } catch (error) {
    const body = Buffer.from(refusal(error));
    client.write(`HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n`);
    client.end(Buffer.concat([Buffer.from("x-should-retry: false\r\nconnection: close\r\n\r\n"), body]));
    return client.resume() // the rest of the request is not wanted, but must be taken
  }
  const { socket, authorization } = line;
  client.once("close", () => socket.destroy());
  // An answer that ended is still on its way to OpenCode; one that broke off must not look as if it had ended.
  socket.once("close", () => client.writableEnded || client.destroy());
  if (client.destroyed) return socket.destroy()
  const kept = lines.filter((line) => !/^(x-api-key|authorization|connection|x-kiro-only-if-running):/i.test(line));
  const sent = [...kept, `authorization: ${authorization}`, "connection: close", "", ""].join("\r\n");
  socket.write(Buffer.concat([Buffer.from(sent, "latin1"), begun]));
  client.pipe(socket);
  return socket.pipe(client)
}

/** @type {Promise<net.Server> | undefined} */
let tunnel;

/** Where OpenCode's requests go, inside this process. */
async function tunnelAddress() {
  useNoProxy();
  tunnel ??= listen().catch((error) => {
    tunnel = undefined;
    throw error
  });
  const { port } = /** @type {net.AddressInfo} */ ((await tunnel).address());
  return `http://127.0.0.1:${port}`
}

/** Whether OpenCode has sent anything yet. */
const isTunnelOpen = () => tunnel !== undefined;

/** Take no more requests; those under way are finished. */
async function closeTunnel() {
  const open = tunnel;
  tunnel = undefined;
  if (open) (await open).close();
}

/** @returns {Promise<net.Server>} */
async function listen() {
  const server = net.createServer({ noDelay: true }, (client) => void carry(client).catch(() => client.destroy()));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.unref()
}

/** The way to this machine leads through no proxy, which would see what is said. */
function useNoProxy() {
  const known = (env.no_proxy || env.NO_PROXY || "").split(",").filter(Boolean);
  env.NO_PROXY = env.no_proxy = [...new Set([...known, "127.0.0.1", "localhost", "::1"])].join(",");
}

/** The headers of a request, as the tunnel wants them. @param {HeadersInit | undefined} given */
function withToken(given) {
  const headers = new Headers(given);
  headers.delete("authorization");
  headers.set("x-api-key", TOKEN);
  return headers
}

/** OpenCode's `fetch` for this provider in 1.x. @param {string | URL | Request} url @param {RequestInit} [init] */
async function send(url, init = {}) {
  const target = String(url).replace(PLACEHOLDER, await tunnelAddress());
  return fetch(target, { ...init, headers: withToken(init.headers) })
}

/** A call to the gateway's control API. @param {string} route @param {unknown} [body] @returns {Promise<any>} */
async function control(route, body) {
  const init = body
    ? { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }
    : {};
  const response = await send(`${PLACEHOLDER}/kiro/${route}`, init);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `status ${response.status}`)
  return answer
}

/** What a running gateway has to say that was not shown yet; `last` is the number of the notice shown last. @param {number} last */
async function news(last) {
  const headers = { [ONLY_IF_RUNNING]: "1" };
  const response = await send(`${PLACEHOLDER}/kiro/notices?after=${last}`, { headers }).catch(() => undefined);
  const told = response?.ok ? await response.json().catch(() => undefined) : undefined;
  return /** @type {{ last: number, notices: { message: string, variant: string }[] }} */ (
    told ?? { last, notices: [] }
  )
}

const SIGN_IN_SECONDS = 900;

const METHODS = [
  { id: "builder-id", label: "AWS Builder ID (IDC)", fields: [] },
  {
    id: "idc",
    label: "AWS SSO (IAM Identity Center)",
    fields: [
      {
        key: "startUrl",
        title: "Start URL of your organisation (empty: as configured)",
        placeholder: "https://d-xxxxxxxxxx.awsapps.com/start",
      },
      {
        key: "region",
        title: "AWS region of your IAM Identity Center (empty: as configured)",
        placeholder: "us-east-1",
      },
    ],
  },
];

/** Begin a sign-in in the gateway. @param {string} method @param {Record<string, string>} answers */
async function beginSignIn(method, answers) {
  const { id, url, code, notice } = await control("login", { method, ...answers });
  return { id, url, instructions: `Confirm the code ${code} in the browser${notice ? `. ${notice}` : ""}` }
}

/** Wait for the end of a sign-in; what there is to say of it. Rejects with the reason when it failed. @param {string} id @param {AbortSignal} [signal] @returns {Promise<string[]>} */
async function endOfSignIn(id, signal) {
  for (const end = Date.now() + SIGN_IN_SECONDS * 1000; Date.now() < end;) {
    await sleep(1000, signal);
    if (signal?.aborted) throw new Error("The sign-in was given up, as OpenCode unloaded the plugin")
    const { status, message, notices } = await control(`login/${id}`);
    if (status === "done") return notices ?? []
    if (status === "failed") throw new Error(message)
  }
  throw new Error("The sign-in was not confirmed in time")
}

// OpenCode 1.14 to 1.18: hooks that are returned.

const NEWS_SECONDS = 1.5;

/** A variant in the words of the original plugin means nothing to @ai-sdk/anthropic. @param {any} variant */
function translated({ thinkingConfig, ...rest }) {
  const budgetTokens = thinkingConfig?.thinkingBudget;
  return budgetTokens ? { ...rest, thinking: { type: "enabled", budgetTokens } } : rest
}

/** What the user wrote about a model, over what is known of it. @param {any} known @param {any} own */
function merged(known, own) {
  const variants = Object.entries(own.variants ?? {}).map(([name, variant]) => [name, translated(variant)]);
  return { ...known, ...own, variants: { ...known?.variants, ...Object.fromEntries(variants) } }
}

/**
 * The provider as OpenCode's configuration has it; what the user wrote counts.
 * @param {any} own @param {string | undefined} folder
 */
function provider(own = {}, folder) {
  const models = { ...listedModels().opencode1 };
  for (const [id, model] of Object.entries(own.models ?? {})) models[id] = merged(models[id], model);
  const headers = { ...projectHeaders(folder), ...own.options?.headers };
  const headed = Object.keys(headers).length ? { headers } : {};
  const options = { ...own.options, ...headed, baseURL: `${PLACEHOLDER}/v1`, apiKey: NO_KEY, fetch: send };
  // The catalogue of models.dev may list a provider of the same id, whose models would come on top.
  return { whitelist: Object.keys(models), ...own, name: own.name ?? "Kiro", npm: "@ai-sdk/anthropic", models, options }
}

/** Two names of one command. */
const SIGN_IN_COMMANDS = ["auth", "providers"];

/** Whether OpenCode was started with one of these commands. @param {string[]} commands */
const called = (commands) => process.argv.some((word) => commands.includes(word));

/** @param {{ client: any, directory?: string, worktree?: string }} input */
const server = async ({ client, directory, worktree }) => {
  /** The project: the whole of it where OpenCode knows one, else the folder that it was started in. */
  const folder = worktree && worktree !== "/" ? worktree : directory;
  /** @param {string} message @param {string} variant */
  const toast = (message, variant) =>
    client.tui.showToast({ body: { title: "Kiro", message, variant } }).catch(() => {});
  /**
   * OpenCode shows no reason itself; the command line has no toasts either.
   * @param {string} message @param {"info" | "error"} variant
   */
  const tell = (message, variant) => {
    if (called(SIGN_IN_COMMANDS)) console.error(message);
    return toast(message, variant)
  };
  /** @param {string} method */
  const authorize =
    (method) =>
    async (/** @type {Record<string, string>} */ answers = {}) => {
      const { id, ...shown } = await beginSignIn(method, answers);
      const callback = async () => {
        try {
          for (const notice of await endOfSignIn(id)) await tell(notice, "info");
          return { type: "success", key: NO_KEY }
        } catch (error) {
          await tell(error instanceof Error ? error.message : String(error), "error");
          return { type: "failed" }
        }
      };
      return { ...shown, method: "auto", callback }
    };
  /** The number of the last notice that this window has shown. */
  let last = 0;
  // `opencode run` and its like have no window; there nothing is asked for that nobody would see.
  const watched = !called([...SIGN_IN_COMMANDS, "run", "models", "serve"]);
  /** Shows what the gateway has to say; what a turn used is known a moment after it. */
  const showNews = async () => {
    await sleep(NEWS_SECONDS * 1000);
    const { notices, last: newest } = await news(last);
    last = newest;
    for (const { message, variant } of notices) await toast(message, variant);
  };
  return {
    config: async (/** @type {any} */ config) => {
      if (!hasAccount() && !config.provider?.[ID]) return
      config.provider = { ...config.provider, [ID]: provider(config.provider?.[ID], folder) };
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
      if (event.type === "session.idle" && isTunnelOpen() && watched) showNews();
    },
  }
};

// OpenCode 2.0.4 and newer: registrations with the context that is handed over.

const LOOK_SECONDS = 2;
const FAR_AHEAD = Date.UTC(2100, 0);

/** What must happen when accounts or models change, by location: one long-lived service has several. @type {Set<() => unknown>} */
const reloads = new Set();
/** @type {NodeJS.Timeout | undefined} */
let looking;
/** What the provider is made of, as its files were read last. @type {{ shown: boolean, models: any[] }} */
let current = { shown: false, models: [] };
let stamp = "";

/** Read accounts and models anew if their files have changed, as they do outside of OpenCode, too. */
function look() {
  const stats = [ACCOUNTS_FILE, MODELS_FILE].map((file) => fs.statSync(file, { throwIfNoEntry: false }));
  const now = stats.map((stat) => stat && `${stat.ino} ${stat.size} ${stat.mtimeMs}`).join("\n");
  if (now === stamp) return
  stamp = now;
  current = { shown: hasAccount(), models: listedModels().opencode2 };
  for (const reload of reloads) reload();
}

/** Keep the provider of a location up to date; what ends that. @param {() => unknown} reload */
function keepUpToDate(reload) {
  look();
  reloads.add(reload);
  looking ??= setInterval(look, LOOK_SECONDS * 1000).unref();
  return async () => {
    reloads.delete(reload);
    if (reloads.size) return
    clearInterval(looking);
    looking = undefined;
    await closeTunnel();
  }
}

/** Sends a request of OpenCode's through the tunnel. @param {any} event @param {string | undefined} folder */
async function reroute(event, folder) {
  const { url, method, headers: given, signal } = event.request;
  if (!url.startsWith(PLACEHOLDER)) return // the user's own base URL
  const headers = withToken(given);
  if (typeof event.kind === "string") headers.set("x-kiro-kind", event.kind);
  for (const [name, value] of Object.entries(projectHeaders(folder))) headers.set(name, value);
  const [address, body] = await Promise.all([tunnelAddress(), event.request.arrayBuffer()]);
  event.request = new Request(url.replace(PLACEHOLDER, address), { method, headers, body, signal });
}

/** @param {any} ctx the plugin's context; other releases hand over others */
const setup = async (ctx) => {
  if (!ctx?.provider?.transform || !ctx.session?.hook) {
    // 1.17 and 1.18 call this as well, as a preview; they have `server`.
    const release = ctx?.app?.version;
    if (release)
      console.error(`The Kiro plugin needs OpenCode 2.0.4 or newer; this is ${release}. Run: opencode upgrade`);
    return undefined
  }
  const unloaded = new AbortController();
  const reload = () => Promise.resolve(ctx.provider.reload()).catch(() => {});
  /** @param {string} methodID */
  const authorize =
    (methodID) =>
    async (/** @type {Record<string, string>} */ answers = {}) => {
      const { id, ...shown } = await beginSignIn(methodID, answers);
      const callback = endOfSignIn(id, unloaded.signal).then(() => {
        look();
        reload();
        return { type: "oauth", methodID, refresh: "", access: NO_KEY, expires: FAR_AHEAD }
      });
      callback.catch(() => {}); // OpenCode reads it, but perhaps later than it fails
      return { ...shown, mode: "auto", expiresAt: Date.now() + SIGN_IN_SECONDS * 1000, callback }
    };
  const stopLooking = keepUpToDate(reload);
  await ctx.integration.transform((/** @type {any} */ editor) => {
    editor.update(ID, (/** @type {any} */ integration) => void (integration.name = "Kiro"));
    for (const { id, label, fields } of METHODS) {
      const form = fields.map((field) => ({ type: "string", required: false, ...field }));
      const method = { id, type: "oauth", label, ...(form.length && { form }) }; // an empty form is refused
      editor.method.update({ integrationID: ID, method, authorize: authorize(id) });
    }
  });
  const settings = { baseURL: `${PLACEHOLDER}/v1`, apiKey: NO_KEY };
  const info = { id: ID, name: "Kiro", activation: "enabled", package: "@opencode/ai/providers/anthropic", settings };
  await ctx.provider.transform((/** @type {any} */ editor) => {
    // OpenCode freezes what it is given, and asks again after every change.
    if (current.shown) editor.add({ info, models: structuredClone(current.models) });
  });
  // A hook that rejects would end the turn without a word; where its request then goes, nobody answers.
  const folder = ctx.location?.project?.directory || ctx.location?.directory;
  await ctx.session.hook("http.request", (/** @type {any} */ event) => reroute(event, folder).catch(console.error), {
    providerID: ID,
  });
  return async () => {
    unloaded.abort();
    await stopLooking();
  }
};

var main = { id: "kiro-auth", setup, server };

export { main as default, news };
