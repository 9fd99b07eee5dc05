// @ts-check
// The form that filters and sorts.

/**
 * @typedef {{
 *   page: Page, targets: Target[], rejects: Reject[], rows: Row[], state: State, loading: boolean,
 *   change: (changes: Partial<State>) => void,
 * }} View
 */

/**
 * Fill the form from what there is to choose from.
 * @param {View} view
 */
function buildFilters(view) {
  const { page, state } = view;
  const form = byId("filters");
  const rejectsShown = state.show === "rejects";
  const parts = countsOf([...view.targets, ...view.rejects].map(partOf));
  const stops = countsOf(view.targets.map((target) => target.stop));
  const reasons = countsOf(view.rejects.map((reject) => reject.reason));
  const fields = [
    searchField(view),
    page.rejects
      ? choice("Show", "show", state.show, [
          ["", `targets (${counted(page.targets)})`],
          ["rejects", `rejects (${counted(page.rejects)})`],
        ])
      : null,
    parts.length > 1
      ? choice("Data set", "data", state.data, [["", "all"], ...named(parts)])
      : null,
  ];
  if (page.rows !== undefined) {
    // A training set has texts alone.
  } else if (rejectsShown) {
    fields.push(choice("Reason", "reason", state.reason, [["", "all"], ...named(reasons)]));
  } else {
    fields.push(
      sortFields(view),
      ...VALUES.filter(({ of }) => view.targets.some((t) => of(t) !== null)).map((value) =>
        rangeField(view, value),
      ),
      stopFields(view, stops),
      choice("Flags", "flag", state.flag, FLAG_KINDS),
      page.against
        ? choice("Better mask", "won", state.won, [
            ["", "any"],
            ["first", page.title],
            ["second", page.against.title],
            ["neither", "neither"],
          ])
        : null,
    );
  }
  fields.push(
    element("button", { type: "button", id: "reset", onclick: () => view.change(firstState(page)) }, "Reset"),
  );
  const focused = document.activeElement?.getAttribute("name");
  form.replaceChildren(...fields.filter((field) => field !== null));
  if (focused) /** @type {any} */ (form.querySelector(`[name="${focused}"]`))?.focus();
  form.onsubmit = (event) => event.preventDefault();
  form.oninput = (event) => readField(view, /** @type {any} */ (event.target));
}

/** @param {View} view */
function searchField({ state }) {
  return element(
    "label",
    {},
    "Search texts and ids",
    element("input", { type: "search", name: "q", value: state.q, autocomplete: "off" }),
  );
}

/**
 * @param {string} label
 * @param {string} name
 * @param {string} chosen
 * @param {[string, string][]} choices value and text
 */
function choice(label, name, chosen, choices) {
  return element(
    "label",
    {},
    label,
    element(
      "select",
      { name },
      ...choices.map(([value, text]) =>
        element("option", { value, selected: value === chosen }, text),
      ),
    ),
  );
}

/** @param {[string, number][]} counts */
function named(counts) {
  return counts.map(
    ([name, count]) => /** @type {[string, string]} */ ([name, `${worded(name)} (${counted(count)})`]),
  );
}

/** @param {View} view */
function sortFields({ page, state }) {
  const keys = VALUES.filter(({ key }) => key !== "difference" || page.against);
  return element(
    "div",
    { class: "row" },
    choice("Sort by", "sort", state.sort, [
      [page.against ? "run" : "", "Order of the run"],
      ...keys.map(({ key, label }) => /** @type {[string, string]} */ ([key, label])),
      ...TEXTS.map(({ key, label }) => /** @type {[string, string]} */ ([key, label])),
    ]),
    choice("Order", "down", state.down ? "1" : "", [
      ["", "ascending"],
      ["1", "descending"],
    ]),
  );
}

/**
 * @param {View} view
 * @param {typeof VALUES[number]} value
 */
function rangeField({ state }, { key, label, step }) {
  const [low, high] = state.ranges[key] ?? [null, null];
  const bound = (/** @type {string} */ end, /** @type {number | null} */ given) =>
    element("input", {
      type: "number", step, name: `${key}-${end}`, value: given ?? "", placeholder: end,
      "aria-label": `${label}, ${end}`,
    });
  return element(
    "fieldset",
    { class: "range" },
    element("legend", {}, label),
    bound("from", low),
    element("span", { "aria-hidden": "true" }, "–"),
    bound("to", high),
  );
}

/**
 * @param {View} view
 * @param {[string, number][]} stops
 */
function stopFields({ state }, stops) {
  const chosen = state.stop.split(",");
  return element(
    "fieldset",
    {},
    element("legend", {}, "Ended by"),
    ...stops.map(([stop, count]) =>
      element(
        "label",
        { class: "check" },
        element("input", { type: "checkbox", name: "stop", value: stop, checked: chosen.includes(stop) }),
        `${worded(stop)} (${counted(count)})`,
      ),
    ),
  );
}

/**
 * Take a field's new value into the state.
 * @param {View} view
 * @param {HTMLInputElement} field
 */
function readField(view, field) {
  const [key, end] = field.name.split("-");
  if (end) {
    const range = /** @type {[number | null, number | null]} */ ([
      ...(view.state.ranges[key] ?? [null, null]),
    ]);
    range[Number(end === "to")] = numberIn(field.value);
    view.change({ ranges: { ...view.state.ranges, [key]: range }, page: 1 });
  } else if (field.name === "stop") {
    const checked = document.querySelectorAll("#filters input[name=stop]:checked");
    const stop = [...checked].map((box) => /** @type {any} */ (box).value).join(",");
    view.change({ stop, page: 1 });
  } else if (field.name === "down") {
    view.change({ down: field.value === "1", page: 1 });
  } else {
    view.change({ [field.name]: field.value, page: 1 });
  }
}
