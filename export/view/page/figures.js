// @ts-check
// Figures of the selected targets, as `hlmat stats` defines them.

/**
 * @typedef {{
 *   count: number, iou: number, gain: number, clicks: number, byClick: number[],
 *   noc: { threshold: number, clicks: number, missed: number }[],
 *   stops: [string, number][], histogram: number[],
 * }} Figures
 */

const BINS = 20;

/**
 * Measure targets.
 * @param {Target[]} targets at least one
 * @param {{ maxClicks: number, thresholds: number[] }} rules of the run
 * @returns {Figures}
 */
function figuresOf(targets, { maxClicks, thresholds }) {
  const histogram = new Array(BINS).fill(0);
  /** @type {Map<string, number>} */
  const stops = new Map();
  const noc = thresholds.map((threshold) => ({ threshold, clicks: 0, missed: 0 }));
  let [iou, gain, clicks] = [0, 0, 0];
  for (const target of targets) {
    iou += target.iou;
    gain += target.gain;
    clicks += target.clicks;
    histogram[Math.min(BINS - 1, Math.floor(target.iou * BINS))] += 1;
    stops.set(target.stop, (stops.get(target.stop) ?? 0) + 1);
    for (const each of noc) {
      const reached = target.curve.findIndex((value) => value >= each.threshold);
      each.clicks += reached < 0 ? maxClicks : reached;
      each.missed += Number(reached < 0);
    }
  }
  const count = targets.length;
  return {
    count,
    iou: iou / count,
    gain: gain / count,
    clicks: clicks / count,
    byClick: meanCurve(targets.map(({ curve }) => curve)),
    noc: noc.map((each) => ({ ...each, clicks: each.clicks / count })),
    stops: [...stops].sort((a, b) => b[1] - a[1]),
    histogram,
  };
}

/**
 * Average curves of IoU by click; a rollout that ended keeps its last mask.
 * @param {number[][]} curves at least one
 */
function meanCurve(curves) {
  const longest = curves.reduce((most, curve) => Math.max(most, curve.length), 1);
  const sums = new Float64Array(longest);
  for (const curve of curves) {
    for (let click = 0; click < longest; click++) sums[click] += curve[Math.min(click, curve.length - 1)];
  }
  return [...sums].map((sum) => sum / curves.length);
}

/**
 * Count values, most frequent first.
 * @param {string[]} values
 * @returns {[string, number][]}
 */
function countsOf(values) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}
