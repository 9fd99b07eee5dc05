// @ts-check
// Flags on targets: drop, new texts, a note. A server stores them; other pages offer them as a file.

/**
 * @typedef {{ drop: boolean, note: string, fixes: Record<string, string> }} Flags
 */

/** @type {Map<number, Flags>} by the target's number */
const flagged = new Map();
/** Changes that no file holds yet. */
let unsaved = 0;
/** Flags are stored one after the other, so that the last one counts. */
let storing = Promise.resolve();

const FLAG_KINDS = /** @type {[string, string][]} */ ([
  ["", "any"], ["flagged", "flagged"], ["drop", "to drop"], ["fix", "with new texts"],
  ["note", "with a note"], ["none", "not flagged"],
]);

/** @param {Page} page */
async function loadFlags(page) {
  if (page.rows !== undefined) return;
  /** @type {Record<string, Flags>} */
  const stored = await loadData("flags");
  for (const [number, flags] of Object.entries(stored)) flagged.set(Number(number), flags);
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });
}

/** @param {Flags | undefined} flags */
function kindsOf(flags) {
  if (!flags) return [];
  return [
    ...(flags.drop ? ["drop"] : []),
    ...(Object.keys(flags.fixes).length ? ["fix"] : []),
    ...(flags.note ? ["note"] : []),
  ];
}

/**
 * Tell whether a target has the flags that a state asks for.
 * @param {Target} target
 * @param {string} asked a value of `FLAG_KINDS`
 */
function isFlagged(target, asked) {
  const kinds = kindsOf(flagged.get(target.n));
  if (asked === "none") return kinds.length === 0;
  return asked === "flagged" ? kinds.length > 0 : kinds.includes(asked);
}

/**
 * The form for one target's flags.
 * @param {View} view
 * @param {Target} target
 * @param {any} details
 */
function flagPanel(view, target, details) {
  /** @type {string[]} */
  const texts = [...new Set(/** @type {string[]} */ (details.expressions))];
  const flags = flagged.get(target.n) ?? { drop: false, note: "", fixes: {} };
  const feedback = element("output", { class: "feedback" });
  const drop = element("input", { type: "checkbox", name: "flag-drop", checked: flags.drop });
  const note = element("input", { type: "text", name: "flag-note", value: flags.note, autocomplete: "off", maxlength: 10000 });
  const fields = texts.map((text, index) =>
    element("input", {
      type: "text", name: `flag-text-${index}`, autocomplete: "off", maxlength: 10000,
      value: flags.fixes[text] ?? flags.fixes[""] ?? text, placeholder: "left out",
    }));
  const form = element(
    "form",
    { class: "flags", "aria-label": "Flags of this target" },
    element("label", { class: "check" }, drop, "Drop this target"),
    ...fields.map((field, index) =>
      element("label", {}, texts.length > 1 ? `Text ${index + 1}` : "Text", field)),
    element("label", {}, "Note", note),
    feedback,
  );
  form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  form.addEventListener("change", () => {
    const fixes = Object.fromEntries(
      texts.map((text, index) => [text, fields[index].value]).filter(([text, now]) => text !== now),
    );
    const changed = { drop: drop.checked, note: note.value, fixes };
    if (!drop.checked && texts.length && fields.every(({ value }) => value === "")) {
      feedback.textContent = "Not stored: one text must be left, or drop the target.";
      return;
    }
    storing = storing.then(() => storeFlags(view.page, target, changed, feedback));
  });
  return element("section", {}, element("h3", {}, "Flags"), form);
}

/**
 * Store a target's flags: at the server, or on this page until they are downloaded.
 * @param {Page} page
 * @param {Target} target
 * @param {Flags} flags
 * @param {HTMLElement} feedback receives what became of them
 */
async function storeFlags(page, target, flags, feedback) {
  if (page.canSave) {
    feedback.textContent = "storing …";
    try {
      const answer = await fetch("flags", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ n: target.n, ...flags }),
      });
      if (!answer.ok) throw new Error((await answer.text()).trim());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      feedback.textContent = reason.startsWith("not stored") ? reason : `not stored: ${reason}`;
      return;
    }
  } else unsaved += 1;
  if (kindsOf(flags).length) flagged.set(target.n, flags);
  else flagged.delete(target.n);
  feedback.textContent = page.canSave ? "stored" : "kept on this page: download the flags above the grid of all targets";
}

/**
 * What is flagged in all, and the file of it where no server stores it.
 * @param {View} view
 */
function showFlags({ page, targets }) {
  const place = byId("flags");
  const counts = countsOf([...flagged.values()].flatMap(kindsOf));
  place.hidden = counts.length === 0;
  place.replaceChildren(
    element("span", {}, `Flags: ${counts.map(([kind, count]) => `${kind} ${counted(count)}`).join(", ")}`),
    page.canSave ? "" : element("button", { type: "button", id: "download", onclick: () => downloadFlags(targets) },
      "Download flags (CSV)"),
  );
}

/** @param {Target[]} targets */
function downloadFlags(targets) {
  const address = URL.createObjectURL(new Blob([flagsAsCsv(targets)], { type: "text/csv" }));
  const link = element("a", { href: address, download: "flags.csv" });
  link.click();
  URL.revokeObjectURL(address);
  unsaved = 0;
}

/**
 * Write all flags as `hlmat edit --read` reads them.
 * @param {Target[]} targets
 */
function flagsAsCsv(targets) {
  const lines = [["dataset", "split", "target_id", "flag", "expression", "replacement", "note"]];
  for (const target of targets) {
    const flags = flagged.get(target.n);
    if (!flags) continue;
    const key = [target.dataset, target.split, target.id];
    if (flags.drop) lines.push([...key, "drop", "", "", flags.note]);
    else if (flags.note) lines.push([...key, "note", "", "", flags.note]);
    for (const [old, now] of Object.entries(flags.fixes)) lines.push([...key, "fix", old, now, ""]);
  }
  return lines.map((cells) => cells.map(csvCell).join(",") + "\n").join("");
}

/**
 * Quote a cell; what a spreadsheet would take for a formula gets an apostrophe in front.
 * @param {string} text
 */
function csvCell(text) {
  const guarded = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  return `"${guarded.replaceAll('"', '""')}"`;
}
