/** What the page asks of the API. Every failure is a Problem: the server's words, the status, when to try again. */

const KEY = "icdtune.key";
const SECONDS_TO_WAIT = 5;

export class Problem extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may well succeed later. */
  get passes() {
    return [0, 429, 503].includes(this.status);
  }
}

export const readKey = () => sessionStorage.getItem(KEY) ?? "";

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Send a request and return its response; with `body` it is a POST of JSON. */
export async function ask(path, { body, accept = "application/json", signal, query = {} } = {}) {
  const address = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  const headers = { Accept: accept };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (readKey()) headers.Authorization = `Bearer ${readKey()}`;
  const asked = { method: body === undefined ? "GET" : "POST", headers, signal, cache: "no-store" };
  if (body !== undefined) asked.body = JSON.stringify(body);
  const reply = await fetch(address, asked).catch(rethrow);
  if (!reply.ok) throw await readProblem(reply);
  return reply;
}

export const askJson = async (path, options) => (await ask(path, options)).json().catch(rethrow);

/** Yield the objects of a response that holds one JSON object per line, as the lines arrive. */
export async function* readRows(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(rethrow);
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line.trim()) yield JSON.parse(line);
    if (done) return;
  }
}

function rethrow(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem("The server does not answer", { retryAfter: SECONDS_TO_WAIT });
}

async function readProblem(reply) {
  const text = await reply.text().catch(() => "");
  const said = readMessage(text) || `the server answered ${reply.status}`;
  const seconds = Number.parseInt(reply.headers.get("Retry-After") ?? "", 10);
  const retryAfter = Number.isFinite(seconds) ? Math.max(1, seconds) : SECONDS_TO_WAIT;
  return new Problem(said[0].toUpperCase() + said.slice(1), { status: reply.status, retryAfter });
}

function readMessage(text) {
  try {
    return JSON.parse(text).error?.message;
  } catch {
    return undefined;
  }
}
