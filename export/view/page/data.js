// @ts-check
// The page's data: scripts that call `hlmat.receive`, since a page opened from disk may load no JSON.

/**
 * @typedef {{
 *   n: number, id: string, dataset: string, split: string, texts: string[], image: number,
 *   iou: number, start: number, gain: number, clicks: number, stop: string,
 *   segmenterScore: number | null, modelScore: number | null, curve: number[],
 *   other: number | null, otherIou: number | null, otherClicks: number | null,
 *   otherStop: string | null, otherCurve: number[] | null, difference: number | null, sought: string,
 * }} Target
 * @typedef {{
 *   n: number, id: string, dataset: string, split: string, texts: string[], reason: string,
 *   message: string, sought: string,
 * }} Reject
 * @typedef {{
 *   n: number, id: string, texts: string[], message: string, images: number, sought: string,
 * }} Row a row of a training set; `message` is its answer
 * @typedef {{
 *   title: string, targets: number, rejects: number, rows?: number, indexRows: number, targetsPerFile: number,
 *   canSave: boolean,
 *   facts: Record<string, string>, protocol: Record<string, any>, thresholds: number[],
 *   against: null | { title: string, facts: Record<string, string> },
 *   training: null | {
 *     task: string, rendered: boolean, suffix: string, colour: string, opacity: number,
 *   },
 * }} Page
 */

/** How many files of data are kept for when they are asked for again. */
const KEPT_FILES = 300;

const hlmat = {
  /** @type {Map<string, { promise: Promise<any>, resolve: (value: any) => void, isReceived: boolean }>} */
  asked: new Map(),

  /**
   * Take a file's content; called by the file itself.
   * @param {string} name
   * @param {any} value
   */
  receive(name, value) {
    const asked = hlmat.asked.get(name);
    if (!asked) return;
    asked.isReceived = true;
    asked.resolve(value);
  },
};

/**
 * Load a file of data.
 * @param {string} name below `data/`, without its ending
 * @returns {Promise<any>}
 */
function loadData(name) {
  const known = hlmat.asked.get(name);
  if (known) {
    // The latest are kept.
    hlmat.asked.delete(name);
    hlmat.asked.set(name, known);
    return known.promise;
  }
  /** @type {(value: any) => void} */
  let resolve = () => {};
  const promise = new Promise((done, failed) => {
    const script = document.createElement("script");
    resolve = (value) => done(value);
    script.src = `data/${name}.js`;
    const fail = (/** @type {string} */ problem) => {
      hlmat.asked.delete(name);
      failed(new Error(`${script.src} ${problem}`));
    };
    script.onload = () => {
      script.remove();
      if (hlmat.asked.get(name)?.isReceived === false) fail("holds no data");
    };
    script.onerror = async () => {
      script.remove();
      const reason = await reasonOf(script.src);
      fail(reason ? `cannot be loaded: ${reason}` : "cannot be loaded");
    };
    document.head.append(script);
  });
  hlmat.asked.set(name, { promise, resolve, isReceived: false });
  for (const [old, { isReceived }] of hlmat.asked) {
    if (hlmat.asked.size <= KEPT_FILES) break;
    if (isReceived) hlmat.asked.delete(old);
  }
  return promise;
}

/**
 * Ask a server why it gave no file; a script that fails to load does not say.
 * @param {string} address
 */
async function reasonOf(address) {
  if (!location.protocol.startsWith("http")) return "";
  try {
    const answer = await fetch(address);
    const isText = answer.headers.get("Content-Type")?.startsWith("text/plain");
    return answer.ok || !isText ? "" : (await answer.text()).trim();
  } catch {
    return "the server does not answer";
  }
}

/**
 * Load a target's details.
 * @param {Page} page
 * @param {number} n
 * @param {"targets" | "against"} kind
 * @returns {Promise<any>}
 */
async function loadTarget(page, n, kind = "targets") {
  const file = Math.floor(n / page.targetsPerFile);
  const details = await loadData(`${kind}-${file}`);
  return details[n - file * page.targetsPerFile];
}

/**
 * Turn columns into one object per row.
 * @param {Record<string, any[]>} columns
 * @param {number} first number of the first row
 * @returns {any[]}
 */
function rowsOf(columns, first) {
  const names = Object.keys(columns);
  return columns.id.map((_, place) => {
    /** @type {Record<string, any>} */
    const row = { n: first + place };
    for (const name of names) row[name] = columns[name][place];
    row.sought = [row.id, ...row.texts, row.message ?? ""].join("\n").toLowerCase();
    if (row.iou !== undefined) {
      row.gain = row.iou - row.start;
      const paired = row.otherIou !== undefined && row.otherIou !== null;
      row.difference = paired ? row.iou - row.otherIou : null;
    }
    return row;
  });
}
