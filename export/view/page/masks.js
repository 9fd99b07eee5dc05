// @ts-check
// Masks: COCO compressed run lengths to pixels of any smaller size, and from pixels to a canvas.

const MASK_COLOUR = [40, 120, 255, 140];
const MASK_EDGE = [20, 70, 235, 255];
const TRUTH_COLOUR = [255, 225, 0, 255];
const IGNORE_COLOUR = [150, 150, 150, 150];

/**
 * Read the run lengths of a mask: background and object in turns, down the columns.
 * @param {string} counts as pycocotools compresses them
 * @returns {number[]}
 */
function runsOf(counts) {
  /** @type {number[]} */
  const runs = [];
  let place = 0;
  while (place < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const digit = counts.charCodeAt(place++) - 48;
      if (!(digit >= 0 && digit < 64)) throw new Error("not a mask");
      value += (digit & 31) * 2 ** shift;
      shift += 5;
      more = (digit & 32) !== 0;
      if (!more && digit & 16) value -= 2 ** shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    if (!(value >= 0)) throw new Error("not a mask");
    runs.push(value);
  }
  return runs;
}

/**
 * Draw a mask into pixels of another size: each has the value of the mask's pixel at its centre.
 * @param {string | null} counts null for an empty mask
 * @param {[number, number]} size height and width of the mask
 * @param {[number, number]} drawn height and width of the result, at most those of the mask
 * @returns {Uint8Array} row by row, 1 on the object
 */
function maskPixels(counts, [height, width], [rows, columns]) {
  const pixels = new Uint8Array(rows * columns);
  if (!counts) return pixels;
  /** @type {Int32Array} the drawn column whose centre lies in a column of the mask, or -1 */
  const drawnColumn = new Int32Array(width).fill(-1);
  for (let x = 0; x < columns; x++) drawnColumn[Math.floor(((x + 0.5) * width) / columns)] = x;
  const scale = rows / height;
  let start = 0;
  runsOf(counts).forEach((length, index) => {
    const end = start + length;
    if (end > height * width) throw new Error("not a mask");
    if (index % 2 && length > 0) {
      for (let x = Math.floor(start / height); x * height < end && x < width; x++) {
        const column = drawnColumn[x];
        if (column < 0) continue;
        const top = Math.max(0, start - x * height);
        const foot = Math.min(height, end - x * height);
        const last = Math.min(rows, Math.ceil(foot * scale - 0.5));
        for (let y = Math.max(0, Math.ceil(top * scale - 0.5)); y < last; y++) {
          pixels[y * columns + column] = 1;
        }
      }
    }
    start = end;
  });
  return pixels;
}

/**
 * Keep the pixels of a mask that touch the background.
 * @param {Uint8Array} pixels
 * @param {[number, number]} drawn height and width
 * @param {number} [thickness] in pixels
 * @returns {Uint8Array}
 */
function outlineOf(pixels, [rows, columns], thickness = 1) {
  let inner = pixels;
  for (let turn = 0; turn < thickness; turn++) {
    const eroded = new Uint8Array(inner.length);
    for (let y = 1; y < rows - 1; y++) {
      for (let x = 1; x < columns - 1; x++) {
        const at = y * columns + x;
        eroded[at] =
          inner[at] & inner[at - 1] & inner[at + 1] & inner[at - columns] & inner[at + columns];
      }
    }
    inner = eroded;
  }
  return pixels.map((value, at) => value & (1 - inner[at]));
}

/**
 * Return the size at which an image of a size is drawn.
 * @param {[number, number]} size height and width
 * @param {number} side the longer side's bound
 * @returns {[number, number]}
 */
function boundedSize([height, width], side) {
  const scale = Math.min(1, side / Math.max(height, width));
  return [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
}

/**
 * Draw layers of masks onto a canvas that lies over an image; nothing if a mask is damaged.
 * @param {HTMLCanvasElement} canvas
 * @param {[number, number]} size height and width of the masks
 * @param {{ counts: string | null, colour: number[], outline?: number }[]} layers
 * @param {number} side the bound on the canvas's longer side
 * @returns {boolean} whether the masks can be read
 */
function drawMasks(canvas, size, layers, side) {
  const drawn = boundedSize(size, side);
  [canvas.height, canvas.width] = drawn;
  const context = canvas.getContext("2d");
  if (!context) return true;
  const data = context.createImageData(drawn[1], drawn[0]);
  const words = new Uint32Array(data.data.buffer);
  try {
    for (const layer of layers) {
      const [word] = new Uint32Array(new Uint8Array(layer.colour).buffer);
      let pixels = maskPixels(layer.counts, size, drawn);
      if (layer.outline) pixels = outlineOf(pixels, drawn, layer.outline);
      for (let at = 0; at < pixels.length; at++) if (pixels[at]) words[at] = word;
    }
  } catch {
    return false;
  }
  context.putImageData(data, 0, 0);
  return true;
}

/**
 * Say on a picture that its mask cannot be shown.
 * @returns {HTMLElement}
 */
function damagedMask() {
  return element("p", { class: "missing" }, "the mask cannot be read");
}
