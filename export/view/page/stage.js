// @ts-check
// An image with layers that can be switched, zoomed and moved.

const WHOLE_SIDE = 4096;
const MOST_ZOOM = 40;

/** What can be switched, with its key on the keyboard. */
const LAYERS = [
  { name: "image", key: "i", label: "image" },
  { name: "mask", key: "m", label: "mask" },
  { name: "truth", key: "t", label: "ground truth" },
  { name: "clicks", key: "c", label: "clicks" },
  { name: "ignore", key: "g", label: "ignored pixels" },
];

/**
 * @typedef {{
 *   node: HTMLElement, show: (step: number) => void, zoom: (factor: number) => void,
 *   fit: () => void, switchLayer: (name: string, on: boolean) => void,
 * }} Stage
 */

/**
 * Build a stage for one run's trajectory.
 * @param {any} details
 * @param {string} source of the image
 * @param {() => Promise<string | null>} reason why it is missing
 * @returns {Stage}
 */
function buildStage(details, source, reason) {
  const size = /** @type {[number, number]} */ ([details.height, details.width]);
  const mask = element("canvas", { class: "layer mask", "aria-hidden": "true" });
  const truth = element("canvas", { class: "layer truth", "aria-hidden": "true" });
  const ignore = element("canvas", { class: "layer ignore", "aria-hidden": "true" });
  const clicks = svg("svg", {
    class: "layer clicks", viewBox: `0 0 ${details.width} ${details.height}`, "aria-hidden": "true",
  });
  const image = element("div", { class: "layer image" }, imageOr(source, details.expressions[0] ?? "", reason));
  const moved = element("div", { class: "moved" }, image, ignore, mask, truth, clicks);
  const node = element(
    "div",
    { class: "stage", tabindex: "0", role: "group",
      "aria-label": "Image; plus and minus zoom, 0 fits, drag moves" },
    moved,
  );
  node.style.aspectRatio = `${details.width} / ${details.height}`;
  node.style.setProperty("--ratio", String(details.width / details.height));
  const thick = Math.max(1, Math.round(Math.min(WHOLE_SIDE, Math.max(...size)) / 500));
  const isDrawn = [
    drawMasks(truth, size, [{ counts: details.truth_rle, colour: TRUTH_COLOUR, outline: thick }], WHOLE_SIDE),
    drawMasks(ignore, size, [{ counts: details.ignore_rle, colour: IGNORE_COLOUR }],
      details.ignore_rle ? WHOLE_SIDE : 1),
  ];
  const damaged = damagedMask();
  node.append(damaged);
  let [scale, x, y, at] = [1, 0, 0, 0];

  const place = () => {
    const box = node.getBoundingClientRect();
    x = Math.min(0, Math.max(box.width * (1 - scale), x));
    y = Math.min(0, Math.max(box.height * (1 - scale), y));
    moved.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    const isLarge = (box.width * scale) / details.width > 3;
    node.classList.toggle("pixels", isLarge);
    // Until it is enlarged, a finger on the image scrolls the page.
    node.classList.toggle("enlarged", scale > 1);
    drawClicks();
  };
  const drawClicks = () => {
    const width = node.getBoundingClientRect().width || details.width;
    const unit = details.width / (width * scale);
    clicks.replaceChildren(...clickMarks(details.steps.slice(0, at), unit));
  };
  /**
   * @param {number} factor
   * @param {number} [px] the point that stays, by default the middle
   * @param {number} [py]
   */
  const zoom = (factor, px, py) => {
    const box = node.getBoundingClientRect();
    const [cx, cy] = [px ?? box.width / 2, py ?? box.height / 2];
    const next = Math.min(MOST_ZOOM, Math.max(1, scale * factor));
    x = cx - ((cx - x) * next) / scale;
    y = cy - ((cy - y) * next) / scale;
    scale = next;
    place();
  };
  const fit = () => {
    [scale, x, y] = [1, 0, 0];
    place();
  };
  node.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
    if (!event.ctrlKey && scale === 1 && event.deltaY > 0) return;
    event.preventDefault();
    const box = node.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  node.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    if (event.button !== 0) return;
    node.setPointerCapture(event.pointerId);
    const [fromX, fromY] = [event.clientX - x, event.clientY - y];
    const move = (/** @type {PointerEvent} */ now) => {
      [x, y] = [now.clientX - fromX, now.clientY - fromY];
      place();
    };
    node.addEventListener("pointermove", move);
    const end = () => node.removeEventListener("pointermove", move);
    node.addEventListener("pointerup", end, { once: true });
    node.addEventListener("pointercancel", end, { once: true });
  });
  new ResizeObserver(place).observe(node);
  return {
    node,
    zoom,
    fit,
    show(step) {
      at = Math.min(step, details.steps.length);
      const counts = at ? details.steps[at - 1].mask_rle : details.initial_rle;
      const isMaskDrawn = drawMasks(
        mask,
        size,
        [{ counts, colour: MASK_COLOUR }, { counts, colour: MASK_EDGE, outline: thick }],
        WHOLE_SIDE,
      );
      damaged.hidden = [...isDrawn, isMaskDrawn].every(Boolean);
      drawClicks();
    },
    switchLayer(name, on) {
      node.querySelector(`.layer.${name}`)?.classList.toggle("off", !on);
    },
  };
}

/**
 * Draw the actions that no later step took back; the last one is larger.
 * @param {any[]} steps
 * @param {number} unit pixels of the image for a pixel of the screen
 */
function clickMarks(steps, unit) {
  /** @type {any[]} */
  const left = [];
  for (const step of steps) {
    if (step.kind === "undo") left.pop();
    else left.push(step);
  }
  return left.map((step, index) => {
    const isLast = index === left.length - 1;
    if (step.kind === "box") {
      return svg("rect", {
        class: "box", x: step.x0, y: step.y0, width: step.x1 - step.x0, height: step.y1 - step.y0,
        "stroke-width": 2 * unit,
      });
    }
    const radius = (isLast ? 9 : 6) * unit;
    const [x, y] = [step.x + 0.5, step.y + 0.5];
    const arm = radius * 0.55;
    return svg(
      "g",
      { class: `click ${step.is_positive ? "positive" : "negative"}` },
      svg("circle", { cx: x, cy: y, r: radius, "stroke-width": 1.5 * unit }),
      svg("path", {
        d: `M${x - arm} ${y}H${x + arm}${step.is_positive ? `M${x} ${y - arm}V${y + arm}` : ""}`,
        "stroke-width": 2 * unit,
      }),
    );
  });
}
