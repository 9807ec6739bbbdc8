import { follow, unlock, waits } from "./live.js";

// Everything that is shown comes from outside and may be hostile: it becomes text, never markup.

const PAGE = 50;
const LABELS = {
  waiting: "◌ Waiting", finished: "✓ Finished", failed: "✕ Failed", timed_out: "✕ Timed out", stalled: "✕ Stalled",
  not_found: "✕ Not found", refused: "✕ Refused", unavailable: "✕ API unavailable",
};
const FILTERS = { all: "All", bad: "Problems", waiting: "Waiting", finished: "Finished" };
const ORDER = { bad: 0, waiting: 1, finished: 2 };
// They reorder or hide the text around them; shown as what they are, they do nothing.
const TRICKS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const at = (id) => document.getElementById(id);
const cards = new Map();
const view = { filter: "all", search: "", page: 0 };

const kind = (wait) => (wait.status === "waiting" || wait.status === "finished" ? wait.status : "bad");
const clean = (text) => String(text).replace(TRICKS, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
  return `${Math.floor(whole / 3600)}h${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")}m`;
}

function connection(state, text) {
  const shown = at("connection");
  if (shown.textContent !== text) shown.textContent = text;
  shown.dataset.state = state;
}

function login(problem) {
  at("waits").hidden = true;
  at("login").hidden = false;
  at("login-problem").textContent = problem;
  connection("connecting", "locked");
  at("token").focus();
}

// What is shown.

function changed() {
  at("waits").hidden = false;
  const counts = { all: waits.size, bad: 0, waiting: 0, finished: 0 };
  for (const wait of waits.values()) counts[kind(wait)] += 1;
  for (const button of at("filter").children) {
    if (button.value) button.textContent = `${FILTERS[button.value]} ${counts[button.value]}`;
  }
  const news = `${counts.waiting} waiting, ${counts.bad} with problems, ${counts.finished} finished`;
  if (at("news").textContent !== news) at("news").textContent = news;
  document.title = counts.bad ? `(${counts.bad}!) waiter` : counts.waiting ? `(${counts.waiting}) waiter` : "waiter";
  draw();
}

function wanted(wait) {
  if (view.filter !== "all" && kind(wait) !== view.filter) return false;
  if (!view.search) return true;
  const task = wait.task || {};
  const words = [wait.id, wait.status, task.task_type, task.state, task.detailed_state, wait.error];
  return words.some((word) => word && word.toLowerCase().includes(view.search));
}

function draw() {
  const found = [...waits.values()].filter(wanted).sort((a, b) => ORDER[kind(a)] - ORDER[kind(b)]);
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  view.page = Math.min(view.page, last);
  const shown = found.slice(view.page * PAGE, (view.page + 1) * PAGE);
  at("empty").hidden = found.length > 0;
  at("empty").textContent = waits.size ? "No wait is like that." : "Nothing to wait for yet: POST task IDs to /v1/waits.";
  at("pages").hidden = last === 0;
  const place = `${view.page * PAGE + 1} to ${view.page * PAGE + shown.length} of ${found.length}`;
  if (at("place").textContent !== place) at("place").textContent = place;
  at("previous").disabled = view.page === 0;
  at("next").disabled = view.page === last;
  lay(shown);
}

function lay(shown) {
  const focused = document.activeElement;
  const ids = new Set(shown.map((wait) => wait.id));
  for (const [id, card] of cards) {
    if (ids.has(id)) continue;
    card.remove();
    cards.delete(id);
  }
  shown.forEach((wait, index) => {
    if (!cards.has(wait.id)) cards.set(wait.id, at("card").content.firstElementChild.cloneNode(true));
    const card = cards.get(wait.id);
    if (at("list").children[index] !== card) at("list").insertBefore(card, at("list").children[index] || null);
    if (card.wait !== wait) fill(card, wait);
  });
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function fill(card, wait) {
  const task = wait.task || {};
  card.wait = wait;
  card.dataset.kind = kind(wait);
  card.querySelector(".status").textContent = LABELS[wait.status];
  card.querySelector(".type").textContent = clean(task.task_type || "task");
  const state = task.detailed_state ? `${task.state} / ${task.detailed_state}` : task.state;
  card.querySelector(".state bdi").textContent = state ? clean(state) : wait.status === "waiting" ? "not seen yet" : "never seen";
  card.querySelector(".id code").textContent = wait.id;
  copies(card.querySelector(".id .copy"), wait.id, "the ID of the task");
  const error = card.querySelector(".error");
  error.hidden = !wait.error;
  error.textContent = wait.error ? clean(wait.error) : "";
  // What scrolls must be reachable by keyboard.
  if (wait.error && wait.error.length > 400) error.tabIndex = 0;
  fillLine(card.querySelector(".line"), wait);
  fillMade(card.querySelector(".made"), wait.created_resources);
  tick(card);
}

function fillLine(line, wait) {
  const steps = wait.transitions;
  const begins = steps.map((step) => Date.parse(step.at));
  line.replaceChildren(...steps.map((step, index) => {
    const item = document.createElement("li");
    const name = document.createElement("bdi");
    const isEnd = index === steps.length - 1 && kind(wait) !== "waiting";
    name.textContent = clean(step.detailed_state ? `${step.state} / ${step.detailed_state}` : step.state);
    const time = document.createElement("time");
    time.dateTime = step.at;
    time.textContent = new Date(begins[index]).toLocaleTimeString([], { hour12: false });
    const took = index + 1 < steps.length ? ` for ${duration((begins[index + 1] - begins[index]) / 1000)}` : "";
    item.append(name, " ", time, took);
    item.className = isEnd ? "end" : "";
    if (index + 1 < steps.length) item.style.flexGrow = String((begins[index + 1] - begins[index]) / 1000);
    return item;
  }));
}

function fillMade(made, resources) {
  const kinds = Object.entries(resources);
  made.hidden = kinds.length === 0;
  made.replaceChildren(...kinds.flatMap(([name, ids]) => {
    const term = document.createElement("dt");
    term.textContent = clean(name);
    return [term, ...ids.map((id) => {
      const item = document.createElement("dd");
      const code = document.createElement("code");
      const button = document.createElement("button");
      code.textContent = clean(id);
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      copies(button, String(id), `${clean(name)} ${clean(id)}`);
      item.append(code, button);
      return item;
    })];
  }));
}

function copies(button, text, what) {
  button.setAttribute("aria-label", `Copy ${what.slice(0, 200)}`);
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Browsers give the clipboard to secure origins only.
      getSelection().selectAllChildren(button.parentElement.querySelector("code"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
}

function tick(card) {
  const { task, status, seen } = card.wait;
  const passed = status === "waiting" ? (performance.now() - seen) / 1000 : 0;
  const age = card.querySelector(".age");
  const left = card.querySelector(".left");
  const step = card.querySelector(".line li:last-child:not(.end)");
  if (step) step.style.flexGrow = String(Math.max(1, (Date.now() - Date.parse(step.querySelector("time").dateTime)) / 1000));
  const known = task && task.age !== null;
  age.textContent = known ? `${status === "waiting" ? "for" : "took"} ${duration(task.age + passed)}` : "";
  left.textContent = "";
  if (!known || task.time_left === null) return;
  const most = task.time_left_p90 - passed;
  left.textContent = most <= 0
    ? "· longer than usual"
    : `· about ${duration(task.time_left - passed)} left, 9 in 10 under ${duration(most)}`;
}

// What people do.

for (const [name, label] of Object.entries(FILTERS)) {
  const button = document.createElement("button");
  button.type = "button";
  button.value = name;
  button.textContent = label;
  button.setAttribute("aria-pressed", String(name === view.filter));
  button.onclick = () => {
    Object.assign(view, { filter: name, page: 0 });
    for (const other of at("filter").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
    draw();
  };
  at("filter").append(button);
}
at("search").oninput = (event) => {
  Object.assign(view, { search: event.target.value.trim().toLowerCase(), page: 0 });
  draw();
};
const turn = (by) => () => {
  view.page += by;
  draw();
  scrollTo({ top: 0 });
};
at("previous").onclick = turn(-1);
at("next").onclick = turn(1);
at("login").onsubmit = (event) => {
  event.preventDefault();
  const token = at("token").value.trim();
  at("token").value = "";
  at("login-problem").textContent = "";
  at("login").hidden = true;
  unlock(token);
};
setInterval(() => { for (const card of cards.values()) tick(card); }, 1000);
follow({ waits: changed, connection, login });
