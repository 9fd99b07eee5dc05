// @ts-check
// Start: load the index piece by piece, and show what the address names.

const TYPING_MS = 150;

async function start() {
  /** @type {Page} */
  const page = await loadData("page");
  /** @type {View} */
  const view = {
    page, targets: [], rejects: [], rows: [], state: stateOf(page), loading: true,
    change(changes) {
      Object.assign(view.state, changes);
      // The address follows without a new entry in the history for each key.
      history.replaceState(null, "", formatState(view.state));
      if ("show" in changes) buildFilters(view);
      clearTimeout(timer);
      timer = window.setTimeout(() => showGrid(view), "q" in changes ? TYPING_MS : 0);
    },
  };
  let timer = 0;
  showHead(page);
  await loadFlags(page);
  const panel = /** @type {HTMLDetailsElement} */ (byId("filter-panel"));
  panel.open = matchMedia("(min-width: 60rem)").matches;
  window.addEventListener("hashchange", () => {
    view.state = stateOf(page);
    buildFilters(view);
    show(view);
  });
  window.addEventListener("keydown", (event) => {
    if (view.state.target) targetKey(view, event);
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("results").focus();
  });
  for (let chunk = 0; chunk * page.indexRows < page.rejects; chunk++) {
    view.rejects.push(...rowsOf(await loadData(`rejects-${chunk}`), chunk * page.indexRows));
  }
  for (let chunk = 0; chunk * page.indexRows < (page.rows ?? 0); chunk++) {
    for (const row of rowsOf(await loadData(`rows-${chunk}`), chunk * page.indexRows)) {
      view.rows.push(row);
    }
  }
  for (let chunk = 0; chunk * page.indexRows < page.targets; chunk++) {
    const rows = rowsOf(await loadData(`index-${chunk}`), chunk * page.indexRows);
    for (const row of rows) view.targets.push(row);
    hlmat.asked.delete(`index-${chunk}`);
    // The first targets are shown at once; the order of all is known at the end.
    if (chunk === 0 || view.state.target) {
      if (chunk === 0) buildFilters(view);
      show(view);
    } else byId("status").textContent = `${counted(view.targets.length)} of ${counted(page.targets)} targets loaded`;
  }
  view.loading = false;
  buildFilters(view);
  show(view);
  document.body.dataset.ready = "";
}

/**
 * Read the state from the address.
 * @param {Page} page
 */
function stateOf(page) {
  const state = parseState(location.hash);
  return { ...state, sort: state.sort || firstState(page).sort };
}

/** @param {View} view */
function show(view) {
  const one = Boolean(view.state.target);
  byId("browse").hidden = one;
  byId("target").hidden = !one;
  if (one) showTarget(view);
  else showGrid(view);
}

/** @param {Page} page */
function showHead(page) {
  const title = page.against ? `${page.title} against ${page.against.title}` : page.title;
  document.title = `${title} – hlmat`;
  byId("title").textContent = title;
  byId("facts").textContent = Object.entries(page.facts).map(([name, value]) => `${name}: ${value}`).join(" · ");
}

start().catch((error) => {
  byId("status").textContent = `The page cannot be shown: ${error.message}`;
});
