/**
 * The drawing of parallel coordinates. Ranges are marked by dragging along an axis, or by the two
 * handles of each axis, which the arrow keys move.
 */

import { endsOf, rangeBetween, shareOf, textOf, ticksOf, valueAt } from "./coordinate_axes.js";

/**
 * @typedef {import("./coordinate_axes.js").Axis} Axis
 * @typedef {import("./coordinate_axes.js").Range} Range
 * @typedef {import("./coordinate_axes.js").Ranges} Ranges
 * @typedef {{update: (ranges: Ranges, inside: boolean[]) => void}} Plot
 */

const SVG = "http://www.w3.org/2000/svg";
const BOX = { top: 62, height: 230, missing: 34, bottom: 30, side: 84 };
/** Least distance between axes, so that the labels of one do not reach the next. */
const AXIS_SPACE = 118;
/** Width of the strip of an axis that takes the pointer, and height of a handle. */
const STRIP = 28;
const HANDLE = 24;
/** A shorter movement of the pointer is a click, which takes the range away. */
const CLICK = 4;
/** Share of the axis within which the pointer is at its end. */
const SNAP = 0.015;
/** Shares of the axis by which the keys move a handle. */
const SMALL_MOVE = 0.02;
const LARGE_MOVE = 0.1;
/** Characters of labels: of categories, and of the parts of a name. */
const LABEL = 13;
const NAME = 17;

/**
 * @param {HTMLElement} holder
 * @param {Axis[]} axes
 * @param {{labels: string[], shares: (number | null)[]}} runs the name of each, and where its primary
 *   result is between the least and the greatest
 * @param {(key: string, range: Range | null) => void} mark
 * @returns {Plot}
 */
export function drawPlot(holder, axes, runs, mark) {
  const space = Math.max(AXIS_SPACE, (holder.clientWidth - 2 * BOX.side) / (axes.length - 1 || 1));
  const width = 2 * BOX.side + space * (axes.length - 1);
  const hasMissing = axes.some((axis) => axis.values.includes(null));
  const svg = element("svg", {
    width,
    height: BOX.top + BOX.height + BOX.bottom + (hasMissing ? BOX.missing : 0),
    role: "group",
    "aria-label": "Parallel coordinates. Each axis has two handles that mark a range.",
  });
  const places = axes.map((axis, i) => ({ axis, x: BOX.side + i * space }));
  const lines = runs.labels.map((label, run) => {
    const line = element("polyline", {
      class: runs.shares[run] === null ? "run-line without" : "run-line",
      points: places.map(({ axis, x }) => `${x.toFixed(1)},${yOf(axis, run)}`).join(" "),
    });
    line.style.setProperty("--share", `${100 * (runs.shares[run] ?? 0)}%`);
    line.append(titled(label));
    return line;
  });
  const lineGroup = element("g", { class: runs.labels.length > 40 ? "many" : "" });
  lineGroup.append(...lines);
  svg.append(lineGroup, ...places.flatMap(({ axis, x }) => missingMarks(axis, x)));
  const marks = places.map((place) => drawAxis(svg, place, mark));
  holder.replaceChildren(svg);
  return {
    update(ranges, inside) {
      lines.forEach((line, run) => line.classList.toggle("outside", !inside[run]));
      // Those inside are drawn last, over the others.
      lineGroup.append(...lines.filter((_, run) => inside[run]));
      marks.forEach((update, i) => update(ranges.get(axes[i].key)));
    },
  };
}

/**
 * @param {SVGElement} svg
 * @param {{axis: Axis, x: number}} place
 * @param {(key: string, range: Range | null) => void} mark
 * @returns {(range: Range | undefined) => void}
 */
function drawAxis(svg, { axis, x }, mark) {
  const group = element("g", { transform: `translate(${x.toFixed(1)} 0)` });
  group.append(element("line", { class: "axis-line", y1: BOX.top, y2: BOX.top + BOX.height }));
  for (const { share, label } of ticksOf(axis)) {
    const text = element("text", { x: -8, y: yAt(share) + 4, "text-anchor": "end", class: "tick" });
    text.textContent = shortened(label, LABEL);
    if (label.length > LABEL) text.append(titled(label));
    group.append(
      element("line", { class: "axis-line", x1: -4, x2: 0, y1: yAt(share), y2: yAt(share) }),
      text,
    );
  }
  group.append(...nameOf(axis));
  const brush = element("rect", { class: "range", x: -STRIP / 4, width: STRIP / 2 });
  const strip = element("rect", {
    class: "strip",
    x: -STRIP / 2,
    y: BOX.top,
    width: STRIP,
    height: BOX.height,
  });
  const handles = /** @type {const} */ (["low", "high"]).map((end) => handleOf(axis, end));
  group.append(brush, strip, ...handles);
  svg.append(group);
  /** @type {[number, number]} shares of the ends */
  let ends = [0, 1];

  const markShares = (/** @type {number} */ low, /** @type {number} */ high) =>
    mark(axis.key, rangeBetween(axis, low, high));
  followPointer(
    strip,
    (first, second) => markShares(first, second),
    () => mark(axis.key, null),
  );
  handles.forEach((handle, i) => {
    const move = (/** @type {number} */ share) => {
      const low = i === 0 ? Math.min(share, ends[1]) : ends[0];
      markShares(low, i === 0 ? ends[1] : Math.max(share, ends[0]));
    };
    followPointer(
      handle,
      (_, share) => move(share),
      () => {},
    );
    handle.addEventListener("keydown", (event) => {
      const share = moved(axis, ends[i], event.key);
      if (share === null && event.key !== "Escape" && event.key !== "Delete") return;
      event.preventDefault();
      if (share === null) mark(axis.key, null);
      else move(share);
    });
  });

  return (range) => {
    const [least, greatest] = endsOf(axis);
    const shareAt = (/** @type {number | null} */ value, /** @type {number} */ open) =>
      value === null || least === greatest ? open : clamp(shareOf(axis, value));
    ends = range ? [shareAt(range.low, 0), shareAt(range.high, 1)] : [0, 1];
    setAttributes(brush, {
      y: yAt(ends[1]),
      height: Math.max(1, yAt(ends[0]) - yAt(ends[1])),
      visibility: range ? "visible" : "hidden",
    });
    handles.forEach((handle, i) =>
      setAttributes(handle, {
        transform: `translate(0 ${yAt(ends[i])})`,
        "aria-valuenow": Math.round(100 * ends[i]),
        "aria-valuetext": textOf(
          axis,
          axis.categories
            ? (i ? Math.floor : Math.ceil)(valueAt(axis, ends[i]))
            : valueAt(axis, ends[i]),
        ),
      }),
    );
  };
}

/** @param {Axis} axis @param {"low" | "high"} end */
function handleOf(axis, end) {
  const handle = element("g", {
    class: "handle",
    tabindex: 0,
    role: "slider",
    "aria-orientation": "vertical",
    "aria-label": `${axis.name}, ${end === "low" ? "lower" : "upper"} end of the range`,
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  });
  // Beyond the end, so that the two never cover each other.
  const y = end === "low" ? 0 : -HANDLE;
  handle.append(
    element("rect", { class: "grip", x: -STRIP / 2, y, width: STRIP, height: HANDLE }),
    element("path", { d: end === "low" ? "M-7 1 H7 L0 9 Z" : "M-7 -1 H7 L0 -9 Z" }),
  );
  return handle;
}

/**
 * Call `move` with the shares where a movement of the pointer began and where it is.
 * @param {SVGElement} target
 * @param {(first: number, second: number) => void} move
 * @param {() => void} click
 */
function followPointer(target, move, click) {
  /** @type {number | null} */
  let start = null;
  let isMoved = false;
  const yOfEvent = (/** @type {PointerEvent} */ event) =>
    event.clientY - /** @type {Element} */ (target.ownerSVGElement).getBoundingClientRect().top;
  target.addEventListener("pointerdown", (event) => {
    start = yOfEvent(event);
    isMoved = false;
    target.setPointerCapture(event.pointerId);
  });
  target.addEventListener("pointermove", (event) => {
    if (start === null) return;
    isMoved ||= Math.abs(yOfEvent(event) - start) >= CLICK;
    if (isMoved) move(shareAtY(start), shareAtY(yOfEvent(event)));
  });
  const end = (/** @type {boolean} */ isClick) => {
    if (start !== null && !isMoved && isClick) click();
    start = null;
  };
  target.addEventListener("pointerup", () => end(true));
  target.addEventListener("pointercancel", () => end(false));
}

/**
 * @param {Axis} axis
 * @param {number} share
 * @param {string} key
 * @returns {number | null} where the key moves a handle; null for other keys
 */
function moved(axis, share, key) {
  const step = axis.categories ? 1 / Math.max(1, axis.categories.length - 1) : SMALL_MOVE;
  const moves = {
    ArrowUp: step,
    ArrowRight: step,
    ArrowDown: -step,
    ArrowLeft: -step,
    PageUp: Math.max(step, LARGE_MOVE),
    PageDown: -Math.max(step, LARGE_MOVE),
    Home: -1,
    End: 1,
  };
  const move = /** @type {Record<string, number>} */ (moves)[key];
  return move === undefined ? null : clamp(share + move);
}

/** @param {Axis} axis @param {number} x a mark for each run without a value, and what it means */
function missingMarks(axis, x) {
  const missing = axis.values.filter((value) => value === null).length;
  if (!missing) return [];
  const y = BOX.top + BOX.height + BOX.missing;
  const label = element("text", { x, y: y + 20, "text-anchor": "middle" });
  label.textContent = `${textOf(axis, null)}: ${missing}`;
  return [element("circle", { class: "missing", cx: x, cy: y, r: 4.5 }), label];
}

/** @param {Axis} axis its name in two lines, the last part below */
function nameOf({ name, scale }) {
  const parts = /^(.*[./])([^./]+)$/.exec(name);
  const first = element("text", { y: 14, "text-anchor": "middle" });
  const last = element("text", { y: 30, "text-anchor": "middle", class: "name" });
  first.textContent = parts ? `${parts[1].length > NAME ? "…" : ""}${parts[1].slice(-NAME)}` : "";
  last.textContent = shortened(parts ? parts[2] : name, NAME) + (scale === "log" ? ", log" : "");
  last.append(titled(name));
  return [first, last];
}

/** @param {Axis} axis @param {number} run @returns {string} */
function yOf(axis, run) {
  const value = axis.values[run];
  const y = value === null ? BOX.top + BOX.height + BOX.missing : yAt(shareOf(axis, value));
  return y.toFixed(1);
}

/** @param {number} share @returns {number} */
function yAt(share) {
  return BOX.top + BOX.height * (1 - share);
}

/** @param {number} y of the pointer @returns {number} an end of the axis where it is close to one */
function shareAtY(y) {
  const share = clamp((BOX.top + BOX.height - y) / BOX.height);
  return share < SNAP ? 0 : share > 1 - SNAP ? 1 : share;
}

/** @param {number} share */
function clamp(share) {
  return Math.max(0, Math.min(1, share));
}

/** @param {string} text @param {number} most */
function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** @param {string} text */
function titled(text) {
  const title = element("title", {});
  title.textContent = text;
  return title;
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @returns {SVGElement}
 */
function element(name, attributes) {
  const node = /** @type {SVGElement} */ (document.createElementNS(SVG, name));
  setAttributes(node, attributes);
  return node;
}

/** @param {SVGElement} target @param {Record<string, string | number>} attributes */
function setAttributes(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) target.setAttribute(name, String(value));
}
