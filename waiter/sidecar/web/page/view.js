// Which waits are shown, and in which order. The fragment of the URL has the view, so that it and each wait can be linked.

export const FILTERS = { all: "All", bad: "Problems", waiting: "Waiting", finished: "Finished" };
export const SORTS = {
  problems: "Problems first", newest: "Newest first", oldest: "Oldest first", left: "Least time left", type: "Type", target: "What it acts on",
};
const ORDER = { bad: 0, waiting: 1, finished: 2 };

export const view = { filter: "all", sort: "problems", search: "", wait: null, page: 0 };

export const kind = (wait) => (wait.status === "waiting" || wait.status === "finished" ? wait.status : "bad");
export const linkTo = (id) => `#${new URLSearchParams({ wait: id })}`;

export function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  const known = (name, values, otherwise) => (Object.hasOwn(values, given.get(name)) ? given.get(name) : otherwise);
  view.filter = known("filter", FILTERS, "all");
  view.sort = known("sort", SORTS, "problems");
  view.search = (given.get("search") || "").toLowerCase();
  view.wait = given.get("wait");
  view.page = 0;
}

export function writeFragment() {
  const given = new URLSearchParams();
  if (view.filter !== "all") given.set("filter", view.filter);
  if (view.sort !== "problems") given.set("sort", view.sort);
  if (view.search) given.set("search", view.search);
  if (view.wait) given.set("wait", view.wait);
  history.replaceState(null, "", `${location.pathname}${given.size ? `#${given}` : ""}`);
}

// The texts of each wait that can be searched; a wait is never changed, only replaced.
const texts = new WeakMap();

function textOf(wait) {
  if (!texts.has(wait)) {
    const task = wait.task || {};
    const found = [wait.id, wait.status, task.task_type, task.target, task.state, task.detailed_state, wait.error];
    texts.set(wait, [...found, ...Object.values(wait.created_resources).flat()].join("\n").toLowerCase());
  }
  return texts.get(wait);
}

export function matches(wait) {
  return (view.filter === "all" || kind(wait) === view.filter) && (!view.search || textOf(wait).includes(view.search));
}

const byText = (read) => (a, b) => (read(a) || "\uffff").localeCompare(read(b) || "\uffff");
const leftOf = (wait) => (wait.task?.time_left == null ? Infinity : wait.task.time_left + wait.seen / 1000);
const COMPARE = {
  problems: (a, b) => ORDER[kind(a)] - ORDER[kind(b)],
  newest: (a, b) => (a.accepted_at < b.accepted_at ? 1 : a.accepted_at > b.accepted_at ? -1 : 0),
  oldest: (a, b) => COMPARE.newest(b, a),
  left: (a, b) => (leftOf(a) === leftOf(b) ? 0 : leftOf(a) - leftOf(b)),
  type: byText((wait) => wait.task?.task_type),
  target: byText((wait) => wait.task?.target),
};

export function select(waits) {
  return [...waits].filter(matches).sort(COMPARE[view.sort]);
}
