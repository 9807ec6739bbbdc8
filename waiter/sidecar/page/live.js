// The waits as the sidecar has them: listed once, and asked for again when an event says that one has changed.

const AT_ONCE = 40;
const SETTLE = 250;

export const waits = new Map();
const dirty = new Set();
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let lastEvent = null;
let reloading = false;
let token = sessionStorage.getItem("token");
let show = null;

class Locked extends Error {}

// show.waits() is called when they have changed, show.connection(state, text) and show.login(problem) as it happens.
export function follow(shown) {
  show = shown;
  listen();
}

export function unlock(given) {
  token = given;
  sessionStorage.setItem("token", token);
  listen();
}

async function ask(path, headers = {}, signal = undefined) {
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { headers, signal, cache: "no-store" });
  if (answer.status === 401) {
    const problem = token ? "This token is not the right one." : "";
    sessionStorage.removeItem("token");
    show.login(problem);
    throw new Locked();
  }
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer;
}

async function loadAll() {
  const answer = await ask("v1/waits");
  const seen = performance.now();
  lastEvent = Number(answer.headers.get("Last-Event-ID"));
  const said = await answer.json();
  waits.clear();
  for (const wait of said.waits) waits.set(wait.id, { ...wait, seen });
  show.waits();
}

async function loadSome(ids) {
  const answer = await ask(`v1/waits?${ids.map((id) => `id=${encodeURIComponent(id)}`).join("&")}`);
  const seen = performance.now();
  const said = await answer.json();
  for (const id of ids) if (!said.waits.some((wait) => wait.id === id)) waits.delete(id);
  for (const wait of said.waits) waits.set(wait.id, { ...wait, seen });
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
      await (ids.length > AT_ONCE ? loadAll() : loadSome(ids));
    } catch {
      ids.forEach((id) => dirty.add(id));
      pause = 2000;
    }
    await sleep(pause);
  }
  reloading = false;
}

// EventSource cannot send a token, so the stream is read by hand.
async function listen() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 10000)) {
    try {
      await loadAll();
      const answer = await ask("v1/events", { "Last-Event-ID": String(lastEvent) });
      show.connection("live", "live");
      pause = 500;
      await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (error) {
      if (error instanceof Locked) return;
      show.connection("lost", `not connected (${error.message}), trying again`);
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
    blocks.forEach(take);
    if (dirty.size) reload();
  }
}

function take(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
  if (!fields.id) return;
  lastEvent = Number(fields.id);
  if (fields.event === "stream.reset") throw new Error("some events were missed");
  dirty.add(JSON.parse(fields.data).task_id);
}
