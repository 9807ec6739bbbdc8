import { follow, unlock, waits } from "./live.js";
import { FILTERS, SORTS, kind, linkTo, matches, readFragment, select, view, writeFragment } from "./view.js";

// Every text comes from the API and may be hostile: it is inserted as text, never as markup.

const PAGE = 50;
// Of a kind of created resources, so many are shown; the API has them all.
const MAX_IDS = 20;
// Milliseconds between two announcements of what has changed, which a screen reader reads.
const ANNOUNCEMENT_INTERVAL = 10000;
const LABELS = {
  waiting: "◌ Waiting", finished: "✓ Finished", failed: "✕ Failed", timed_out: "✕ Timed out", stalled: "✕ Stalled",
  not_found: "✕ Not found", refused: "✕ Refused", unavailable: "✕ API unavailable",
};
// Characters that reorder or hide the text around them are shown as escapes.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const element = (id) => document.getElementById(id);
const cards = new Map();
// The linked wait is revealed once, as soon as it is there.
let reveal = null;
let summarized = -Infinity;
let summarizing = null;

// An element that scrolls must be reachable by keyboard, and another one needs no stop.
const scrollable = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollHeight > target.clientHeight) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

const escape = (text) => String(text).replace(CONTROLS, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, "0")}s`;
  return `${Math.floor(whole / 3600)}h${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")}m`;
}

function connection(state, text) {
  const shown = element("connection");
  if (shown.textContent !== text) shown.textContent = text;
  shown.dataset.state = state;
}

function login(problem) {
  element("waits").hidden = true;
  element("login").hidden = false;
  element("login-problem").textContent = problem;
  connection("connecting", "locked");
  element("token").focus();
}

// Drawing.

function changed() {
  element("waits").hidden = false;
  const counts = { all: waits.size, bad: 0, waiting: 0, finished: 0 };
  for (const wait of waits.values()) counts[kind(wait)] += 1;
  for (const button of element("filter").children) {
    if (button.value) button.textContent = `${FILTERS[button.value]} ${counts[button.value]}`;
  }
  summarize(`${counts.waiting} waiting, ${counts.bad} with problems, ${counts.finished} finished`);
  document.title = counts.bad ? `(${counts.bad}!) waiter` : counts.waiting ? `(${counts.waiting}) waiter` : "waiter";
  draw();
}

function summarize(text) {
  clearTimeout(summarizing);
  if (element("summary").textContent === text) return;
  const write = () => {
    summarized = performance.now();
    element("summary").textContent = text;
  };
  const left = summarized + ANNOUNCEMENT_INTERVAL - performance.now();
  if (left > 0) summarizing = setTimeout(write, left);
  else write();
}

function draw() {
  const linked = waits.get(reveal);
  if (linked && !matches(linked)) Object.assign(view, { filter: "all", search: "" });
  const found = select(waits.values());
  if (linked) view.page = Math.floor(found.indexOf(linked) / PAGE);
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  view.page = Math.min(view.page, last);
  const shown = found.slice(view.page * PAGE, (view.page + 1) * PAGE);
  element("missing").hidden = !view.wait || waits.has(view.wait);
  element("missing").textContent = `There is no wait ${escape(view.wait || "")}: it was deleted, or was never requested here.`;
  element("empty").hidden = found.length > 0;
  element("empty").textContent = waits.size ? "No wait matches." : "No waits yet: POST task IDs to /v1/waits.";
  element("pages").hidden = last === 0;
  const place = `${view.page * PAGE + 1} to ${view.page * PAGE + shown.length} of ${found.length}`;
  if (element("place").textContent !== place) element("place").textContent = place;
  element("previous").disabled = view.page === 0;
  element("next").disabled = view.page === last;
  layOut(shown);
  if (linked) {
    reveal = null;
    showControls();
    cards.get(linked.id).querySelector(".id a").focus();
  }
  return found.length;
}

function layOut(shown) {
  const focused = document.activeElement;
  const ids = new Set(shown.map((wait) => wait.id));
  for (const [id, card] of cards) {
    if (ids.has(id)) continue;
    card.remove();
    cards.delete(id);
  }
  shown.forEach((wait, index) => {
    if (!cards.has(wait.id)) cards.set(wait.id, newCard());
    const card = cards.get(wait.id);
    if (element("list").children[index] !== card) element("list").insertBefore(card, element("list").children[index] || null);
    if (card.wait !== wait) fill(card, wait);
    card.classList.toggle("linked", wait.id === view.wait);
  });
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function newCard() {
  const card = element("card").content.firstElementChild.cloneNode(true);
  scrollable.observe(card.querySelector(".error"));
  return card;
}

function fill(card, wait) {
  const task = wait.task || {};
  card.wait = wait;
  card.dataset.kind = kind(wait);
  card.querySelector(".status").textContent = LABELS[wait.status];
  card.querySelector(".type").textContent = escape(task.task_type || "task");
  card.querySelector(".target bdi").textContent = escape(task.target || "");
  const state = task.detailed_state ? `${task.state} / ${task.detailed_state}` : task.state;
  card.querySelector(".state bdi").textContent = state ? escape(state) : wait.status === "waiting" ? "not polled yet" : "unknown";
  card.querySelector(".id code").textContent = wait.id;
  card.querySelector(".id a").href = linkTo(wait.id);
  addCopy(card.querySelector(".id .copy"), wait.id, "task ID");
  const error = card.querySelector(".error");
  error.hidden = !wait.error;
  error.textContent = wait.error ? escape(wait.error) : "";
  fillTransitions(card.querySelector(".line"), wait);
  fillResources(card.querySelector(".made"), wait.created_resources);
  tick(card);
}

function fillTransitions(line, wait) {
  const steps = wait.transitions;
  const begins = steps.map((step) => Date.parse(step.at));
  line.replaceChildren(...steps.map((step, index) => {
    const item = document.createElement("li");
    const name = document.createElement("bdi");
    const isEnd = index === steps.length - 1 && kind(wait) !== "waiting";
    name.textContent = escape(step.detailed_state ? `${step.state} / ${step.detailed_state}` : step.state);
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

function fillResources(made, resources) {
  const kinds = Object.entries(resources);
  made.hidden = kinds.length === 0;
  made.replaceChildren(...kinds.flatMap(([name, ids]) => {
    const term = document.createElement("dt");
    term.textContent = escape(name);
    const more = document.createElement("dd");
    more.className = "more";
    more.textContent = `and ${ids.length - MAX_IDS} more`;
    const rest = ids.length > MAX_IDS ? [more] : [];
    return [term, ...ids.slice(0, MAX_IDS).map((id) => {
      const item = document.createElement("dd");
      const code = document.createElement("code");
      const button = document.createElement("button");
      code.textContent = escape(id);
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      addCopy(button, String(id), `${escape(name)} ${escape(id)}`);
      item.append(code, button);
      return item;
    }), ...rest];
  }));
}

function addCopy(button, text, what) {
  button.setAttribute("aria-label", `Copy ${what.slice(0, 200)}`);
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Browsers permit access to the clipboard for secure origins only.
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
  const most = (task.time_left_p90 ?? task.time_left) - passed;
  const nineInTen = task.time_left_p90 === null ? "" : `, 9 in 10 under ${duration(most)}`;
  left.textContent = most <= 0 ? "· longer than usual" : `· about ${duration(task.time_left - passed)} left${nineInTen}`;
}

// User input.

function show(choice) {
  Object.assign(view, { wait: null, page: 0 }, choice);
  writeFragment();
  showControls();
  const count = draw();
  element("announcement").textContent = `${count} of ${waits.size} waits`;
}

function showControls() {
  for (const button of element("filter").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === view.filter));
  }
  element("sort").value = view.sort;
  if (element("search").value.trim().toLowerCase() !== view.search) element("search").value = view.search;
}

function openFragment() {
  // The link that skips the tools has a fragment too.
  if (location.hash === "#waits") return;
  readFragment();
  reveal = view.wait;
  showControls();
}

for (const [name, label] of Object.entries(FILTERS)) {
  const button = document.createElement("button");
  button.type = "button";
  button.value = name;
  button.textContent = label;
  button.onclick = () => show({ filter: name });
  element("filter").append(button);
}
element("sort").append(...Object.entries(SORTS).map(([name, label]) => new Option(label, name)));
element("sort").onchange = (event) => show({ sort: event.target.value });
element("search").oninput = (event) => show({ search: event.target.value.trim().toLowerCase() });
openFragment();
onhashchange = () => {
  openFragment();
  if (!element("waits").hidden) draw();
};
const turn = (by) => () => {
  view.page += by;
  draw();
  element("announcement").textContent = element("place").textContent;
  scrollTo({ top: 0 });
};
element("previous").onclick = turn(-1);
element("next").onclick = turn(1);
element("login").onsubmit = (event) => {
  event.preventDefault();
  const token = element("token").value.trim();
  element("token").value = "";
  element("login-problem").textContent = "";
  element("login").hidden = true;
  unlock(token);
};
setInterval(() => { for (const card of cards.values()) tick(card); }, 1000);
follow({ waits: changed, connection, login });
