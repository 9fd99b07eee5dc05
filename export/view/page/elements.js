// @ts-check
// Elements made from values. Everything from data is set as text, never as markup.

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] attributes, `on...` listeners, and properties of canvases
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * Make an SVG element; arguments as above.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string)} children
 * @returns {any}
 */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/**
 * @param {Element} made
 * @param {Record<string, any>} attributes
 * @param {(Node | string | null | undefined)[]} children
 */
function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, String(value));
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map((c) => c ?? ""));
  return made;
}

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Write a number for people; a dash where there is none.
 * @param {number | null | undefined} value
 * @param {number} digits
 */
function shown(value, digits = 3) {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}

/**
 * The same with a sign.
 * @param {number | null | undefined} value
 */
function signed(value) {
  const text = shown(value);
  return value !== null && value !== undefined && value >= 0 ? `+${text}` : text.replace("-", "−");
}

/** @param {string} name as in the data, such as `no_gain` */
function worded(name) {
  return name.replaceAll("_", " ");
}

/** @param {number} count */
function counted(count) {
  return count.toLocaleString("en");
}

/**
 * An image; a grey field with the reason where it cannot be loaded.
 * @param {string} source
 * @param {string} alt
 * @param {() => Promise<string | null>} [reason]
 * @returns {HTMLElement}
 */
function imageOr(source, alt, reason) {
  const image = element("img", { src: source, alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", async () => {
    const text = element("p", { class: "missing" }, "no image");
    image.replaceWith(text);
    const why = reason ? await reason().catch(() => null) : null;
    if (why) text.textContent = `no image: ${why}`;
  });
  return image;
}

/**
 * The reason why a target's image is missing.
 * @param {number} image
 */
function problemOf(image) {
  return () => loadData(`problem-${image}`);
}
