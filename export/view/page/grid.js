// @ts-check
// The selected targets as cards, a page at a time, with their figures.

const THUMBNAIL_SIDE = 320;

/**
 * Show the selection of a state.
 * @param {View} view
 */
function showGrid(view) {
  const { page, state } = view;
  const kind = page.rows !== undefined ? "rows" : state.show === "rejects" ? "rejects" : "targets";
  const { of, total, card } = {
    rows: { of: () => selectRows(view.rows, state), total: page.rows ?? 0, card: rowCard },
    rejects: { of: () => selectRejects(view.rejects, state), total: page.rejects, card: rejectCard },
    targets: {
      of: () => selectTargets([...view.targets], state), total: page.targets, card: targetCard,
    },
  }[kind];
  /** @type {any[]} */
  const selection = of();
  const pages = Math.max(1, Math.ceil(selection.length / PER_PAGE));
  const at = Math.min(state.page, pages);
  const waiting = view.loading ? `; ${counted(view.targets.length)} loaded so far` : "";
  byId("status").textContent =
    `${counted(selection.length)} of ${counted(total)} ${kind}${waiting}`;
  showFlags(view);
  showFigures(view, selection);
  const cards = selection
    .slice((at - 1) * PER_PAGE, at * PER_PAGE)
    .map((each) => card(view, each));
  byId("grid").classList.toggle("pairs", page.against !== null && kind === "targets");
  byId("grid").replaceChildren(...cards);
  showPager(view, at, pages);
}

/**
 * @param {View} view
 * @param {any[]} selection
 */
function showFigures(view, selection) {
  const place = byId("figures");
  place.hidden = selection.length === 0 || view.page.rows !== undefined;
  if (place.hidden) return;
  if (view.state.show === "rejects") {
    place.replaceChildren(countsChart("Rejects by reason", countsOf(selection.map((r) => r.reason))));
    return;
  }
  const rules = {
    maxClicks: Number(view.page.protocol.max_clicks ?? 0),
    thresholds: view.page.thresholds,
  };
  const figures = figuresOf(selection, rules);
  const paired = selection.filter((target) => target.difference !== null);
  place.replaceChildren(
    element(
      "dl",
      { class: "facts" },
      ...fact("Targets", counted(figures.count)),
      ...fact("Mean IoU", shown(figures.iou)),
      ...fact("Mean gain", signed(figures.gain)),
      ...fact("Clicks per target", shown(figures.clicks, 2)),
      ...(paired.length ? pairFacts(view, paired) : []),
    ),
    element(
      "div",
      { class: "charts" },
      clickChart(curvesOf(view, figures, paired)),
      nocChart(figures.noc),
      histogramChart(figures.histogram),
      countsChart("Ended by", figures.stops),
    ),
  );
}

/**
 * IoU by click of the run; of two runs over the targets that both have.
 * @param {View} view
 * @param {Figures} figures
 * @param {Target[]} paired
 */
function curvesOf({ page }, figures, paired) {
  if (!page.against || !paired.length) return [{ name: page.title, values: figures.byClick }];
  return [
    { name: page.title, values: meanCurve(paired.map(({ curve }) => curve)) },
    { name: page.against.title, values: meanCurve(paired.map(({ otherCurve }) => otherCurve ?? [0])) },
  ];
}

/**
 * @param {View} view
 * @param {Target[]} paired
 */
function pairFacts(view, paired) {
  const wins = (/** @type {string} */ who) => paired.filter((t) => winnerOf(t) === who).length;
  const mean = paired.reduce((sum, t) => sum + (t.otherIou ?? 0), 0) / paired.length;
  const difference = paired.reduce((sum, t) => sum + (t.difference ?? 0), 0) / paired.length;
  return [
    ...fact(`Mean IoU of ${view.page.against?.title}`, shown(mean)),
    ...fact("Mean difference", signed(difference)),
    ...fact("Better / worse / equal", [wins("first"), wins("second"), wins("neither")].map(counted).join(" / ")),
  ];
}

/**
 * @param {string} name
 * @param {string | Node} value
 */
function fact(name, value) {
  return [element("div", {}, element("dt", {}, name), element("dd", {}, value))];
}

/**
 * @param {View} view
 * @param {Target} target
 */
function targetCard(view, target) {
  const text = target.texts[0] ?? target.id;
  const label = `${text}, IoU ${shown(target.iou)}, ${target.clicks} clicks, ${worded(target.stop)}`;
  const pictures = [maskedThumbnail(view, target, "targets")];
  if (view.page.against && target.other !== null) pictures.push(maskedThumbnail(view, target, "against"));
  const numbers =
    target.difference === null
      ? [element("b", {}, shown(target.iou)), `${target.clicks} clicks`, worded(target.stop)]
      : [
          element("b", { class: target.difference < -5e-4 ? "worse" : "better" }, signed(target.difference)),
          `${shown(target.iou)} and ${shown(target.otherIou)}`,
          `${target.clicks} and ${target.otherClicks} clicks`,
        ];
  const kinds = kindsOf(flagged.get(target.n));
  if (kinds.length) numbers.push(element("b", { class: "flag" }, kinds.join(", ")));
  return linkedCard(formatState({ ...view.state, target: target.id, n: target.n, step: null }),
    kinds.length ? `${label}, flagged: ${kinds.join(", ")}` : label, pictures, text, numbers);
}

/**
 * @param {View} view
 * @param {Reject} reject
 */
function rejectCard(view, reject) {
  const text = reject.texts[0] ?? reject.id;
  const image = element(
    "div",
    { class: "thumbnail" },
    imageOr(`thumbs/reject-${reject.n}.jpg`, "", async () => null),
  );
  return linkedCard(
    formatState({ ...view.state, target: reject.id, n: reject.n, step: null }),
    `${text}, rejected: ${worded(reject.reason)}`,
    [image],
    text,
    [element("b", { class: "worse" }, worded(reject.reason)), reject.message],
  );
}

/**
 * @param {string} address
 * @param {string} label
 * @param {Node[]} pictures
 * @param {string} text
 * @param {(Node | string)[]} numbers
 */
function linkedCard(address, label, pictures, text, numbers) {
  return element(
    "li",
    {},
    element(
      "a",
      { href: address, "aria-label": label },
      element("div", { class: "pictures" }, ...pictures),
      element("p", { class: "text", title: text }, text),
      element("p", { class: "numbers" }, ...numbers.map((n) => element("span", {}, n))),
    ),
  );
}

/**
 * @param {View} view
 * @param {Row} row
 */
function rowCard(view, row) {
  const image = element("div", { class: "thumbnail" },
    row.images ? imageOr(`thumbs/row-${row.n}-0.jpg`, "") : "");
  return linkedCard(
    formatState({ ...view.state, target: String(row.n), step: null }),
    `row ${row.n + 1}: ${row.texts[0]}`,
    [image],
    row.message,
    [row.texts[0]],
  );
}

/**
 * A target's thumbnail with its last mask and the outline of the ground truth.
 * @param {View} view
 * @param {Target} target
 * @param {"targets" | "against"} kind
 */
function maskedThumbnail(view, target, kind) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const place = element(
    "div",
    { class: "thumbnail" },
    imageOr(`thumbs/${target.image}.jpg`, "", problemOf(target.image)),
    canvas,
  );
  const number = kind === "targets" ? target.n : target.other ?? 0;
  loadTarget(view.page, number, kind).then((details) => {
    const last = details.steps.at(-1)?.mask_rle ?? details.initial_rle;
    const isDrawn = drawMasks(
      canvas,
      [details.height, details.width],
      [
        { counts: last, colour: MASK_COLOUR },
        { counts: last, colour: MASK_EDGE, outline: 1 },
        { counts: details.truth_rle, colour: TRUTH_COLOUR, outline: 1 },
      ],
      THUMBNAIL_SIDE,
    );
    if (!isDrawn) place.append(damagedMask());
    place.dataset.drawn = "";
  }).catch(() => place.append(damagedMask()));
  return place;
}

/**
 * @param {View} view
 * @param {number} at
 * @param {number} pages
 */
function showPager(view, at, pages) {
  const pager = byId("pager");
  pager.hidden = pages < 2;
  const to = (/** @type {number} */ page, /** @type {string} */ text, /** @type {boolean} */ off) =>
    element("button", {
      type: "button", disabled: off, onclick: () => {
        view.change({ page });
        byId("results").focus();
        window.scrollTo(0, 0);
      },
    }, text);
  pager.replaceChildren(
    to(1, "First", at === 1),
    to(at - 1, "Previous", at === 1),
    element("span", {}, `page ${counted(at)} of ${counted(pages)}`),
    to(at + 1, "Next", at === pages),
    to(pages, "Last", at === pages),
  );
}
