// @ts-check
// Which targets are shown, in which order: kept in the address, so that a link shows the same.

/**
 * @typedef {{
 *   show: string, q: string, data: string, stop: string, reason: string, won: string, flag: string,
 *   sort: string, down: boolean, page: number, target: string, n: number | null, step: number | null,
 *   ranges: Record<string, [number | null, number | null]>,
 * }} State
 */

/**
 * The values that targets are filtered and sorted by.
 * @type {{ key: string, label: string, of: (t: Target) => number | null, step: string }[]}
 */
const VALUES = [
  { key: "iou", label: "IoU", of: (t) => t.iou, step: "0.01" },
  { key: "gain", label: "Gain", of: (t) => t.gain, step: "0.01" },
  { key: "clicks", label: "Clicks", of: (t) => t.clicks, step: "1" },
  { key: "segmenter", label: "Segmenter score", of: (t) => t.segmenterScore, step: "0.01" },
  { key: "model", label: "Model score", of: (t) => t.modelScore, step: "0.01" },
  { key: "difference", label: "Difference", of: (t) => t.difference, step: "0.01" },
];

/**
 * The texts that targets are sorted by.
 * @type {{ key: string, label: string, of: (t: Target) => string }[]}
 */
const TEXTS = [
  { key: "text", label: "Text", of: (t) => t.texts[0] ?? "" },
  { key: "stop", label: "Ended by", of: (t) => t.stop },
  { key: "data", label: "Data set", of: partOf },
];

/** @param {Target | Reject} of */
function partOf(of) {
  return `${of.dataset}/${of.split}`;
}

const PER_PAGE = 48;
const TEXT_KEYS = /** @type {const} */ (["show", "q", "data", "stop", "reason", "won", "flag", "sort", "target"]);

/** @returns {State} */
function emptyState() {
  return {
    show: "", q: "", data: "", stop: "", reason: "", won: "", flag: "", sort: "", down: false, page: 1,
    target: "", n: null, step: null, ranges: {},
  };
}

/**
 * Return the state of a page at first; one of two runs begins with their largest difference.
 * @param {Page} page
 * @returns {State}
 */
function firstState(page) {
  return { ...emptyState(), sort: page.against ? "difference" : "" };
}

/**
 * Read the state from an address's part after `#`; unknown and wrong values are left out.
 * @param {string} hash
 * @returns {State}
 */
function parseState(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = emptyState();
  for (const key of TEXT_KEYS) state[key] = given.get(key) ?? "";
  if (!["run", ...[...VALUES, ...TEXTS].map(({ key }) => key)].includes(state.sort)) {
    state.sort = "";
  }
  state.down = given.get("down") === "1";
  state.page = Math.max(1, Math.floor(numberIn(given.get("page")) ?? 1));
  state.n = numberIn(given.get("n"));
  const step = numberIn(given.get("step"));
  state.step = step === null ? null : Math.max(0, Math.round(step));
  for (const { key } of VALUES) {
    const [low, high] = (given.get(key) ?? "").split("~");
    const range = /** @type {[number | null, number | null]} */ ([numberIn(low), numberIn(high)]);
    if (range[0] !== null || range[1] !== null) state.ranges[key] = range;
  }
  return state;
}

/**
 * Write the state for an address; defaults are left out.
 * @param {State} state
 */
function formatState(state) {
  const given = new URLSearchParams();
  for (const key of TEXT_KEYS) if (state[key]) given.set(key, state[key]);
  if (state.down) given.set("down", "1");
  if (state.page > 1) given.set("page", String(state.page));
  if (state.target && state.n !== null) given.set("n", String(state.n));
  if (state.target && state.step !== null) given.set("step", String(state.step));
  for (const [key, [low, high]] of Object.entries(state.ranges)) {
    if (low !== null || high !== null) given.set(key, `${low ?? ""}~${high ?? ""}`);
  }
  return `#${given}`;
}

/** @param {string | null | undefined} text */
function numberIn(text) {
  const value = Number(text);
  return text === null || text === undefined || text.trim() === "" || !Number.isFinite(value)
    ? null
    : value;
}

/**
 * Return the targets of a state in its order; those without a value come last.
 * @param {Target[]} targets
 * @param {State} state
 * @returns {Target[]}
 */
function selectTargets(targets, state) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const stops = new Set(state.stop.split(",").filter(Boolean));
  const ranges = VALUES.filter(({ key }) => state.ranges[key]).map(({ key, of }) => ({
    of,
    low: state.ranges[key][0] ?? -Infinity,
    high: state.ranges[key][1] ?? Infinity,
  }));
  const found = targets.filter(
    (target) =>
      words.every((word) => target.sought.includes(word)) &&
      (!state.data || partOf(target) === state.data) &&
      (!stops.size || stops.has(target.stop)) &&
      (!state.won || winnerOf(target) === state.won) &&
      (!state.flag || isFlagged(target, state.flag)) &&
      ranges.every(({ of, low, high }) => {
        const value = of(target);
        // What is shown with three digits is meant with three digits.
        return value !== null && value >= low - 5e-4 && value <= high + 5e-4;
      }),
  );
  return sorted(found, state);
}

/**
 * @param {Target[]} targets
 * @param {State} state
 */
function sorted(targets, state) {
  const sign = state.down ? -1 : 1;
  if (!state.sort || state.sort === "run") return state.down ? targets.reverse() : targets;
  const text = TEXTS.find(({ key }) => key === state.sort)?.of;
  if (text) {
    return targets.sort((a, b) => sign * text(a).localeCompare(text(b), "en") || a.n - b.n);
  }
  const of = VALUES.find(({ key }) => key === state.sort)?.of ?? ((t) => t.n);
  return targets.sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null) || a.n - b.n;
    return sign * (x - y) || a.n - b.n;
  });
}

/**
 * Return which run has the better mask: "first", "second" or "neither"; "" without a pair.
 * @param {Target} target
 */
function winnerOf(target) {
  if (target.difference === null) return "";
  if (Math.abs(target.difference) < 5e-4) return "neither";
  return target.difference > 0 ? "first" : "second";
}

/**
 * Return the rejects of a state.
 * @param {Reject[]} rejects
 * @param {State} state
 */
function selectRejects(rejects, state) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return rejects.filter(
    (reject) =>
      words.every((word) => reject.sought.includes(word)) &&
      (!state.data || partOf(reject) === state.data) &&
      (!state.reason || reject.reason === state.reason),
  );
}

/**
 * Return the rows of a training set that a state chooses.
 * @param {Row[]} rows
 * @param {State} state
 */
function selectRows(rows, state) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => words.every((word) => row.sought.includes(word)));
}
