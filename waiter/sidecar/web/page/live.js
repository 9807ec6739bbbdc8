// The waits of the sidecar: listed once, and requested again when an event reports a change.

const MAX_IDS = 40;
const SETTLE = 250;

export const waits = new Map();
const dirty = new Set();
// Waits that were deleted since the last request: its response may still contain them.
const deleted = new Set();
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let lastEvent = null;
let reloading = false;
let token = sessionStorage.getItem("token");
let show = null;

class Locked extends Error {}

// Callbacks: show.waits() after every change, show.connection(state, text), show.login(problem).
export function follow(callbacks) {
  show = callbacks;
  subscribe();
}

export function unlock(entered) {
  token = entered;
  sessionStorage.setItem("token", token);
  subscribe();
}

async function request(path, headers = {}, signal = undefined) {
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { headers, signal, cache: "no-store" });
  if (response.status === 401) {
    const problem = token ? "The token is wrong." : "";
    sessionStorage.removeItem("token");
    show.login(problem);
    throw new Locked();
  }
  if (!response.ok && response.status !== 404) throw new Error(`HTTP ${response.status}`);
  return response;
}

async function loadAll() {
  deleted.clear();
  const response = await request("v1/waits");
  const seen = performance.now();
  lastEvent = Number(response.headers.get("Last-Event-ID"));
  const body = await response.json();
  waits.clear();
  keep(body.waits, seen);
  show.waits();
}

function keep(loaded, seen) {
  for (const wait of loaded) if (!deleted.has(wait.id)) waits.set(wait.id, { ...wait, seen });
}

async function loadSome(ids) {
  deleted.clear();
  const response = await request(`v1/waits?${ids.map((id) => `id=${encodeURIComponent(id)}`).join("&")}`);
  if (response.status === 404) {
    const { unknown } = await response.json();
    unknown.forEach((id) => waits.delete(id));
    const known = ids.filter((id) => !unknown.includes(id));
    if (known.length) await loadSome(known);
    else show.waits();
    return;
  }
  const seen = performance.now();
  const body = await response.json();
  keep(body.waits, seen);
  show.waits();
}

async function reload() {
  if (reloading) return;
  reloading = true;
  while (dirty.size) {
    const ids = [...dirty];
    let pause = SETTLE;
    dirty.clear();
    try {
      await (ids.length > MAX_IDS ? loadAll() : loadSome(ids));
    } catch {
      ids.forEach((id) => dirty.add(id));
      pause = 2000;
    }
    await sleep(pause);
  }
  reloading = false;
}

// EventSource cannot send a token, so the stream is read with fetch.
async function subscribe() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 10000)) {
    try {
      await loadAll();
      const response = await request("v1/events", { "Last-Event-ID": String(lastEvent) });
      show.connection("live", "live");
      pause = 500;
      await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (error) {
      if (error instanceof Locked) return;
      show.connection("lost", `not connected (${error.message}), reconnecting`);
    }
    await sleep(pause);
  }
}

async function read(reader) {
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the stream ended");
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    blocks.forEach(handle);
    if (dirty.size) reload();
  }
}

function handle(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
  if (!fields.id) return;
  lastEvent = Number(fields.id);
  if (fields.event === "stream.reset") throw new Error("some events were missed");
  const { task_id: id, task_type: type } = JSON.parse(fields.data);
  if (fields.event === "wait.deleted") {
    dirty.delete(id);
    deleted.add(id);
    waits.delete(id);
    show.waits();
  } else {
    deleted.delete(id);
    dirty.add(id);
  }
  // One wait requests the history of a type, and with it all of them have an estimate of the time left.
  if (fields.event === "history.learned") {
    for (const wait of waits.values()) if (wait.task?.task_type === type) dirty.add(wait.id);
  }
}
