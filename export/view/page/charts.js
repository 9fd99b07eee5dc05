// @ts-check
// Charts as inline SVG. Each carries its figures as a text for those who do not see it.

const [CHART_WIDTH, CHART_HEIGHT] = [260, 150];
const PLOT = { left: 42, right: 246, top: 8, foot: 117 };

/**
 * @param {string} title
 * @param {string} description
 * @param {...Node} parts
 */
function chart(title, description, ...parts) {
  return element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, title),
    svg(
      "svg",
      { viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`, role: "img", "aria-label": `${title}: ${description}` },
      ...parts,
    ),
  );
}

/**
 * Horizontal lines with their values from 0 to `most`.
 * @param {number} most
 * @param {(value: number) => string} format
 */
function scaleLines(most, format) {
  return [0, 0.5, 1].flatMap((share) => {
    const y = PLOT.foot - share * (PLOT.foot - PLOT.top);
    return [
      svg("line", { x1: PLOT.left, x2: PLOT.right, y1: y, y2: y, class: "rule" }),
      svg("text", { x: PLOT.left - 4, y: y + 4.5, class: "end" }, format(share * most)),
    ];
  });
}

/**
 * @param {number} x
 * @param {string} text
 */
function tick(x, text) {
  return svg("text", { x, y: PLOT.foot + 15, class: "middle" }, text);
}

/** @param {string} text */
function axisTitle(text) {
  return svg("text", { x: (PLOT.left + PLOT.right) / 2, y: CHART_HEIGHT - 3, class: "middle" }, text);
}

/**
 * Mean IoU by click, of one run or two.
 * @param {{ name: string, values: number[] }[]} series
 */
function clickChart(series) {
  const longest = Math.max(2, ...series.map(({ values }) => values.length));
  const x = (/** @type {number} */ click) =>
    PLOT.left + 8 + (click / (longest - 1)) * (PLOT.right - PLOT.left - 16);
  const y = (/** @type {number} */ iou) => PLOT.foot - iou * (PLOT.foot - PLOT.top);
  const every = Math.ceil(longest / 10);
  const described = series
    .map(({ name, values }) => `${name} ${values.map((value) => shown(value, 2)).join(", ")}`)
    .join("; ");
  return chart(
    "IoU by click",
    described,
    ...scaleLines(1, (value) => value.toFixed(1)),
    ...Array.from({ length: longest }, (_, click) => click)
      .filter((click) => click % every === 0)
      .map((click) => tick(x(click), String(click))),
    ...series.flatMap(({ values }, index) => [
      svg("polyline", {
        class: `line series-${index}`,
        points: values.map((iou, click) => `${x(click)},${y(iou)}`).join(" "),
      }),
      ...values.map((iou, click) =>
        svg("circle", { class: `dot series-${index}`, cx: x(click), cy: y(iou), r: 3 },
          svg("title", {}, `after ${click}: ${shown(iou)}`)),
      ),
    ]),
    axisTitle(series.length > 1 ? `clicks; ${series.map(({ name }) => name).join(" and, dashed, ")}` : "clicks"),
  );
}

/**
 * Targets by their IoU.
 * @param {number[]} bins
 */
function histogramChart(bins) {
  // Even, so that half of it is a number of targets.
  const most = 2 * Math.max(1, Math.ceil(Math.max(...bins) / 2));
  const width = (PLOT.right - PLOT.left) / bins.length;
  const range = (/** @type {number} */ bin) =>
    `${(bin / bins.length).toFixed(2)} to ${((bin + 1) / bins.length).toFixed(2)}`;
  return chart(
    "Targets by IoU",
    bins.map((count, bin) => `${range(bin)}: ${count}`).filter((_, bin) => bins[bin]).join(", "),
    ...scaleLines(most, (value) => counted(value)),
    ...bins.map((count, bin) => {
      const height = (count / most) * (PLOT.foot - PLOT.top);
      return svg("rect", {
        class: "bar", x: PLOT.left + bin * width + 0.5, width: width - 1, y: PLOT.foot - height, height,
      }, svg("title", {}, `${range(bin)}: ${counted(count)}`));
    }),
    ...[0, 0.5, 1].map((value) => tick(PLOT.left + value * (PLOT.right - PLOT.left), value.toFixed(1))),
    axisTitle("IoU of the last mask"),
  );
}

/**
 * Counts by name as bars to the right.
 * @param {string} title
 * @param {[string, number][]} counts most frequent first
 */
function countsChart(title, counts) {
  const rows = counts.slice(0, 7);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  const pitch = Math.min(24, (CHART_HEIGHT - 8) / Math.max(1, rows.length));
  return chart(
    title,
    counts.map(([name, count]) => `${worded(name)}: ${count}`).join(", "),
    ...rows.flatMap(([name, count], row) => {
      const y = 8 + row * pitch;
      const length = (count / most) * 90;
      const foot = y + pitch / 2 + 1.5;
      return [
        svg("text", { x: 108, y: foot, class: "end" }, worded(name)),
        svg("rect", { class: "bar", x: 114, y, width: Math.max(1, length), height: pitch - 6 }),
        svg("text", { x: 119 + length, y: foot }, counted(count)),
      ];
    }),
  );
}

/**
 * Clicks to reach an IoU, by threshold.
 * @param {Figures["noc"]} noc
 */
function nocChart(noc) {
  const most = Math.max(1, ...noc.map(({ clicks }) => clicks));
  const label = (/** @type {number} */ threshold) => `NoC@${Math.round(threshold * 100)}`;
  return chart(
    "Clicks to reach an IoU",
    noc.map((each) => `${label(each.threshold)} ${shown(each.clicks, 2)}, never ${each.missed}`).join("; "),
    ...noc.flatMap((each, row) => {
      const y = 14 + row * 40;
      const length = (each.clicks / most) * 60;
      return [
        svg("text", { x: 58, y: y + 13, class: "end" }, label(each.threshold)),
        svg("rect", { class: "bar", x: 64, y, width: Math.max(1, length), height: 18 }),
        svg("text", { x: 69 + length, y: y + 13 },
          `${shown(each.clicks, 2)} (never: ${counted(each.missed)})`),
      ];
    }),
  );
}
