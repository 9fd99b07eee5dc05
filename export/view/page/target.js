// @ts-check
// One target: its layers, its steps, the texts of the model, the rows that a training would see.

/** @type {Stage[]} of the target on show */
let stages = [];
/** @type {HTMLInputElement | null} */
let slider = null;
const layersOn = Object.fromEntries(LAYERS.map(({ name }) => [name, true]));

/**
 * Show the target or reject that the state names.
 * @param {View} view
 */
async function showTarget(view) {
  const { state, page } = view;
  const place = byId("target");
  const { target, reject } = chosenOf(view);
  stages = [];
  slider = null;
  if (page.rows !== undefined) return showRow(view, Number(state.target), place);
  if (!target) {
    const none = view.loading ? "loading …" : `this page has no target ${state.target}`;
    place.replaceChildren(headOf(view, null, state.target), reject ? "" : none);
    if (!reject) return;
    try {
      await showReject(view, reject, place);
    } catch (error) {
      if (view.state !== state) return;
      place.replaceChildren(headOf(view, null, reject.texts[0] ?? reject.id), String(error));
    }
    return;
  }
  try {
    const details = await loadTarget(page, target.n);
    const other = target.other === null || target.other === undefined
      ? null
      : await loadTarget(page, target.other, "against");
    if (view.state !== state) return;
    fillTarget(view, target, details, other);
  } catch (error) {
    if (view.state !== state) return;
    place.replaceChildren(headOf(view, target, target.id), String(error));
  }
  place.focus();
}

/**
 * Find the target or the reject that the state names. A reject may have the id of a target, so the
 * kind on show comes first, and the number counts where the address has one.
 * @param {View} view
 * @returns {{ target?: Target, reject?: Reject }}
 */
function chosenOf({ state, targets, rejects }) {
  const isNamed = (/** @type {{ id: string, n: number }} */ { id, n }) =>
    id === state.target && (state.n === null || n === state.n);
  const ofId = (/** @type {{ id: string }} */ { id }) => id === state.target;
  for (const fits of [isNamed, ofId]) {
    const [target, reject] = [targets.find(fits), rejects.find(fits)];
    if (reject && (state.show === "rejects" || !target)) return { reject };
    if (target) return { target };
  }
  return {};
}

/**
 * @param {View} view
 * @param {Target} target
 * @param {any} details
 * @param {any} other
 */
function fillTarget(view, target, details, other) {
  const runs = other ? [details, other] : [details];
  const most = Math.max(...runs.map((run) => run.steps.length));
  stages = runs.map((run) =>
    buildStage(run, `images/${target.image}.jpg`, problemOf(target.image)),
  );
  const tables = runs.map((run) => stepTable(view, run));
  const output = element("output", { id: "step-text", for: "step" });
  const field = element("input", { type: "range", id: "step", min: 0, max: most, value: most });
  slider = field;
  const show = (/** @type {number} */ step) => {
    field.value = String(step);
    output.textContent = runs.map((run) => stepText(run, Math.min(step, run.steps.length))).join(" · ");
    field.setAttribute("aria-valuetext", output.textContent);
    stages.forEach((stage) => stage.show(step));
    tables.forEach((table) => markRow(table, step));
  };
  field.addEventListener("input", () => {
    show(Number(field.value));
    view.state.step = Number(field.value);
    history.replaceState(null, "", formatState(view.state));
  });
  const titles = other ? [view.page.title, view.page.against?.title ?? ""] : [""];
  byId("target").replaceChildren(
    headOf(view, target, details.expressions[0] ?? target.id),
    layerSwitches(Boolean(details.ignore_rle)),
    element("div", { class: "step" }, element("label", { for: "step" }, "Step"), field, output),
    element(
      "div",
      { class: other ? "stages pair" : "stages" },
      ...stages.map((stage, index) =>
        element("section", {}, titles[index] ? element("h3", {}, titles[index]) : null, stage.node),
      ),
    ),
    element("div", { class: other ? "stages pair" : "stages" },
      ...runs.map((run, index) => element("section", {}, endText(run), tables[index]))),
    details.question ? element("section", {}, element("h3", {}, "What the model was asked"),
      element("pre", {}, details.question)) : "",
    flagPanel(view, target, details),
    factsOf(details),
    trainingRows(view, target, details),
  );
  for (const { name } of LAYERS) stages.forEach((s) => s.switchLayer(name, layersOn[name]));
  show(Math.min(view.state.step ?? most, most));
}

/**
 * @param {View} view
 * @param {Target | null} target
 * @param {string} title
 */
function headOf(view, target, title) {
  const selection = target ? selectTargets([...view.targets], view.state) : [];
  const at = selection.findIndex(({ n }) => n === target?.n);
  const to = (/** @type {string} */ text, /** @type {Target | undefined} */ next) =>
    element("a", next ? { href: formatState({ ...view.state, target: next.id, n: next.n, step: null }) } : { "aria-disabled": "true" }, text);
  return element(
    "header",
    { class: "target-head" },
    element(
      "nav",
      { "aria-label": "Targets" },
      element("a", { href: formatState({ ...view.state, target: "", step: null }), id: "back" }, "← All"),
      ...(at < 0 ? [] : [
        to("Previous (p)", selection[at - 1]),
        element("span", {}, `${counted(at + 1)} of ${counted(selection.length)}`),
        to("Next (n)", selection[at + 1]),
      ]),
    ),
    element("h2", {}, title),
  );
}

/** @param {boolean} hasIgnored */
function layerSwitches(hasIgnored) {
  return element(
    "fieldset",
    { class: "layers" },
    element("legend", {}, "Layers"),
    ...LAYERS.filter(({ name }) => name !== "ignore" || hasIgnored).map(({ name, key, label }) =>
      element(
        "label",
        { class: `check swatch-${name}` },
        element("input", {
          type: "checkbox", name: `layer-${name}`, checked: layersOn[name],
          onchange: (/** @type {any} */ event) => switchLayer(name, event.target.checked),
        }),
        `${label} (${key})`,
      ),
    ),
    ...[["Zoom in", 1.5], ["Zoom out", 1 / 1.5]].map(([text, factor]) =>
      element("button", { type: "button", onclick: () => stages.forEach((s) => s.zoom(Number(factor))) }, String(text)),
    ),
    element("button", { type: "button", onclick: () => stages.forEach((s) => s.fit()) }, "Fit"),
  );
}

/**
 * @param {string} name
 * @param {boolean} on
 */
function switchLayer(name, on) {
  layersOn[name] = on;
  stages.forEach((stage) => stage.switchLayer(name, on));
  const box = /** @type {any} */ (document.querySelector(`input[name=layer-${name}]`));
  if (box) box.checked = on;
}

/** @param {any} step */
function actionText(step) {
  if (step.kind === "undo") return "undo";
  if (step.kind === "box") return `box (${step.x0}, ${step.y0}) to (${step.x1}, ${step.y1})`;
  return `${step.is_positive ? "positive" : "negative"} (${step.x}, ${step.y})${step.is_initial ? ", initial" : ""}`;
}

/**
 * @param {any} run
 * @param {number} step
 */
function stepText(run, step) {
  if (!step) return `before the first step: IoU ${shown(run.initial_iou)}`;
  const { iou, gain } = run.steps[step - 1];
  return `after ${step} of ${run.steps.length}: IoU ${shown(iou)} (${signed(gain)})`;
}

/**
 * @param {View} view
 * @param {any} run
 */
function stepTable(view, run) {
  const has = (/** @type {string} */ name) => run.steps.some((/** @type {any} */ s) => s[name] !== null);
  const columns = [
    ["Step", (/** @type {any} */ _, /** @type {number} */ i) => String(i + 1)],
    ["Action", actionText],
    ["IoU", (/** @type {any} */ s) => shown(s.iou)],
    ["Gain", (/** @type {any} */ s) => signed(s.gain)],
    has("score") ? ["Segmenter score", (/** @type {any} */ s) => shown(s.score)] : null,
    has("predicted_iou") ? ["Model score before", (/** @type {any} */ s) => shown(s.predicted_iou)] : null,
    has("answer") ? ["Model's text", (/** @type {any} */ s) => s.answer ?? ""] : null,
  ].filter((column) => column !== null);
  return element(
    "div",
    { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Steps" },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...columns.map(([name]) => element("th", { scope: "col" }, String(name))))),
      element("tbody", {}, ...run.steps.map((/** @type {any} */ s, /** @type {number} */ i) =>
        element("tr", {}, ...columns.map(([, of]) => element("td", {}, /** @type {any} */ (of)(s, i)))))),
    ),
  );
}

/**
 * @param {HTMLElement} table
 * @param {number} step
 */
function markRow(table, step) {
  table.querySelectorAll("tbody tr").forEach((row, index) => {
    if (index === step - 1) row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
  });
}

/** @param {any} run */
function endText(run) {
  const parts = [`Ended by: ${worded(run.stop_reason)}`];
  if (run.stop_detail) parts.push(run.stop_detail);
  if (run.last_answer) parts.push(`last text: ${run.last_answer}`);
  if (run.last_predicted_iou !== null) parts.push(`model's score of the last mask: ${shown(run.last_predicted_iou)}`);
  return element("p", { class: "end-text" }, parts.join("; "));
}

/** @param {any} details */
function factsOf(details) {
  const facts = [
    ["Target", details.target_id],
    ["Texts", details.expressions.join(" | ")],
    ["Data set", `${details.dataset} (${details.split})`],
    ["Image", `${details.image_path}, ${details.width} × ${details.height}`],
    ["Object", `${counted(details.truth_area)} pixels, ${shown((100 * details.truth_area) / (details.width * details.height), 1)} %`],
    ["License", details.license],
    ["Made by", `${details.segmenter}, clicks by ${details.policy}, seed ${details.seed}`],
  ];
  return element("section", {}, element("h3", {}, "About this target"),
    element("dl", { class: "facts wide" }, ...facts.flatMap(([name, value]) => fact(name, value))));
}

/**
 * Show a row of a training set.
 * @param {View} view
 * @param {number} n
 * @param {HTMLElement} place
 */
async function showRow(view, n, place) {
  const at = view.state.target;
  const row = await loadData(`row-${n}`).catch(() => null);
  if (view.state.target !== at) return;
  if (!row) {
    place.replaceChildren(headOf(view, null, `this page has no row ${at}`));
    return;
  }
  const { messages, images, ...columns } = row;
  place.replaceChildren(
    headOf(view, null, `Row ${counted(n + 1)} of ${counted(view.page.rows ?? 0)}`),
    element(
      "article",
      { class: "row-of-training" },
      element("div", { class: "pictures" }, ...Array.from({ length: images }, (_, k) =>
        imageOr(`images/row-${n}-${k}.jpg`, `image ${k + 1} of the row`))),
      conversation(messages, columns),
    ),
  );
  place.focus();
}

/**
 * @param {{ role: string, content: string }[]} messages
 * @param {Record<string, any>} columns
 */
function conversation(messages, columns) {
  return element(
    "div",
    {},
    ...messages.map((message) =>
      element("div", { class: `message ${message.role === "user" ? "asks" : "answers"}` },
        element("b", {}, message.role), element("pre", {}, message.content))),
    element("pre", { class: "columns" }, JSON.stringify(columns, null, 1)),
  );
}

/**
 * @param {View} view
 * @param {Target} target
 * @param {any} details
 */
function trainingRows(view, target, details) {
  const training = view.page.training;
  if (!training) return "";
  const rows = details.rows ?? [];
  return element(
    "section",
    {},
    element("h3", {}, `Training rows of the task ${training.task}`),
    rows.length ? "" : element("p", {}, details.rows_problem ?? "This trajectory gives no row of this task."),
    training.rendered || !rows.length ? "" : element("p", { class: "note" },
      "The page draws these images itself; a page saved with --rendered has them as the model sees them."),
    ...rows.map((/** @type {any} */ row, /** @type {number} */ number) => {
      const { messages, masks, images, target_id, ...columns } = row;
      return element(
        "article",
        { class: "row-of-training" },
        element("div", { class: "pictures" }, ...masks.map((/** @type {any} */ counts, /** @type {number} */ place) =>
          training.rendered
            ? imageOr(`rendered/${target.n}-${number}-${place}.${training.suffix}`, "as the model sees it", problemOf(target.image))
            : drawnState(target, details, counts, training))),
        conversation(messages, columns),
      );
    }),
  );
}

/**
 * A state as the model sees it, drawn here.
 * @param {Target} target
 * @param {any} details
 * @param {string | null} counts
 * @param {NonNullable<Page["training"]>} training
 */
function drawnState(target, details, counts, training) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const colour = { green: [0, 255, 0], red: [255, 0, 0], blue: [0, 0, 255] }[training.colour] ?? [0, 255, 0];
  const isDrawn = drawMasks(canvas, [details.height, details.width],
    [{ counts, colour: [...colour, Math.round(255 * training.opacity)] }], 800);
  return element("div", { class: "thumbnail" },
    imageOr(`images/${target.image}.jpg`, "the state that the model sees", problemOf(target.image)), canvas,
    isDrawn ? null : damagedMask());
}

/**
 * @param {View} view
 * @param {Reject} reject
 * @param {HTMLElement} place
 */
async function showReject(view, reject, place) {
  const { state } = view;
  const details = await loadData(`reject-${reject.n}`);
  if (view.state !== state) return;
  const canvas = element("canvas", { "aria-hidden": "true", class: "layer" });
  const picture = element("div", { class: "thumbnail large" },
    imageOr(`images/reject-${reject.n}.jpg`, reject.texts[0] ?? "", async () => details.problem), canvas);
  const isDrawn = !details.truth_rle || drawMasks(canvas, [details.height, details.width],
    [{ counts: details.truth_rle, colour: TRUTH_COLOUR, outline: 2 }], 1200);
  if (!isDrawn) picture.append(damagedMask());
  place.replaceChildren(
    headOf(view, null, reject.texts[0] ?? reject.id),
    element("p", { class: "end-text" }, `Rejected: ${worded(reject.reason)}. ${reject.message}`),
    picture,
    element("dl", { class: "facts wide" },
      ...fact("Target", reject.id), ...fact("Texts", reject.texts.join(" | ")),
      ...fact("Data set", `${reject.dataset} (${reject.split})`), ...fact("Image", details.image_path),
      ...fact("Where its mask is", details.truth_ref), ...fact("License", details.license)),
  );
  place.focus();
}

/**
 * Keys of the target's view: arrows step, letters switch layers and go on.
 * @param {View} view
 * @param {KeyboardEvent} event
 */
function targetKey(view, event) {
  const field = /** @type {HTMLElement} */ (event.target);
  const isTyping = field instanceof HTMLInputElement && ["search", "number", "text"].includes(field.type);
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const layer = LAYERS.find(({ key }) => key === event.key);
  const links = document.querySelectorAll(".target-head nav a");
  if (event.key === "Escape") byId("back").click();
  else if (event.key === "n" || event.key === "p") {
    /** @type {any} */ (links[event.key === "p" ? 1 : 2])?.click();
  } else if (layer) switchLayer(layer.name, !layersOn[layer.name]);
  else if (event.key === "+" || event.key === "=") stages.forEach((stage) => stage.zoom(1.5));
  else if (event.key === "-") stages.forEach((stage) => stage.zoom(1 / 1.5));
  else if (event.key === "0") stages.forEach((stage) => stage.fit());
  else if (slider && field !== slider && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    slider.value = String(Number(slider.value) + (event.key === "ArrowRight" ? 1 : -1));
    slider.dispatchEvent(new Event("input"));
  } else return;
  if (field !== slider || !event.key.startsWith("Arrow")) event.preventDefault();
}
