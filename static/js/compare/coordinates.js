/**
 * Parallel coordinates of a comparison: axes that people choose and order, ranges that they mark on
 * them, and the runs within these as a table. All of it is in the address.
 */

import { pageData } from "../page.js";
import { addressWith, choose } from "./choices.js";
import {
  endsOf,
  isInside,
  rangeText,
  readRanges,
  shareOf,
  textOf,
  writeRanges,
} from "./coordinate_axes.js";
import { drawPlot } from "./coordinate_plot.js";

/**
 * @typedef {import("./coordinate_axes.js").Axis} Axis
 * @typedef {{axes: Axis[], usual: string[], ranges: string[], most: number, primary: Axis, runs: {name: string,
 *   seed: number | null, group: string}[]}} Drawn as webapp/pages/compare/coordinates.py writes it
 */

const ADDRESS_DELAY_MS = 150;

export function startCoordinates() {
  const data = /** @type {Drawn | null} */ (pageData("coordinates-data"));
  const section = document.getElementById("coordinates");
  if (!data || !section) return;
  const part = (/** @type {string} */ name) =>
    /** @type {HTMLElement} */ (section.querySelector(`[data-${name}]`));
  const [holder, list, table] = [part("plot"), part("axes"), part("table")];
  const labels = data.runs.map(
    ({ name, seed }) => `${name}${seed === null ? "" : `, seed ${seed}`}`,
  );
  const runs = {
    labels: labels.map(
      (label, run) => `${label}: ${textOf(data.primary, data.primary.values[run])}`,
    ),
    shares: data.primary.values.map((value) =>
      value === null ? null : shareOf(data.primary, value),
    ),
  };
  const { most } = data;
  let { axes } = data;
  const ranges = readRanges(data.ranges);
  let plot = drawPlot(holder, axes, runs, mark);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let addressTimer;

  /** @param {string} key @param {import("./coordinate_axes.js").Range | null} range */
  function mark(key, range) {
    if (range) ranges.set(key, range);
    else ranges.delete(key);
    // Browsers refuse an address for every movement of the pointer.
    clearTimeout(addressTimer);
    addressTimer = setTimeout(() => choose("ranges", writeRanges(ranges)), ADDRESS_DELAY_MS);
    update();
  }

  function update() {
    const inside = labels.map((_, run) => isInside(axes, ranges, run));
    const count = inside.filter(Boolean).length;
    plot.update(ranges, inside);
    part("count").textContent =
      count === labels.length ? `${count} runs` : `${count} of ${labels.length} runs in the ranges`;
    part("clear").toggleAttribute("hidden", !ranges.size);
    if (!table.hidden) fillTable(table, axes, ranges, labels, inside);
  }

  /** @param {Axis[]} changed */
  function setAxes(changed) {
    axes = changed;
    const keys = axes.map(({ key }) => key);
    for (const key of ranges.keys()) if (!keys.includes(key)) ranges.delete(key);
    choose("coordinates", keys.join("\n") === data?.usual.join("\n") ? "" : keys.join("\n"));
    choose("ranges", writeRanges(ranges));
    plot = drawPlot(holder, axes, runs, mark);
    showControls();
    update();
  }

  function showControls() {
    part("add").toggleAttribute("hidden", axes.length >= most);
    list.replaceChildren(
      ...axes.map((axis, i) => {
        const item = document.createElement("li");
        const name = document.createElement("span");
        name.className = "mono";
        name.textContent = axis.name;
        item.append(
          name,
          control("‹", `Move ${axis.name} left`, i === 0, () => swap(i, i - 1)),
          control("›", `Move ${axis.name} right`, i === axes.length - 1, () => swap(i, i + 1)),
          control("×", `Remove ${axis.name}`, axes.length < 3, () => remove(axis)),
        );
        return item;
      }),
    );
  }

  /** @param {number} from @param {number} to */
  function swap(from, to) {
    const changed = [...axes];
    [changed[from], changed[to]] = [changed[to], changed[from]];
    setAxes(changed);
    // The button of the same direction, or where the axis is the last one the other.
    const buttons = [...list.children[to].querySelectorAll("button")];
    const button = buttons[to < from ? 0 : 1];
    (button.disabled ? buttons[to < from ? 1 : 0] : button).focus();
  }

  /** @param {Axis} axis */
  function remove(axis) {
    setAxes(axes.filter((each) => each !== axis));
    section?.querySelector("select")?.append(new Option(axis.name, axis.key));
    list.querySelector("button")?.focus();
  }

  part("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const { value } = /** @type {HTMLSelectElement} */ (part("add").querySelector("select"));
    if (!value) return;
    // The page is loaded for the values of the new axis, which is before the last one.
    const keys = axes.map(({ key }) => key);
    const address = addressWith("coordinates", keys.toSpliced(-1, 0, value).join("\n"));
    address.hash = "coordinates";
    location.assign(address);
  });
  part("clear").addEventListener("click", () => {
    ranges.clear();
    choose("ranges", "");
    update();
    // The button is hidden now.
    /** @type {HTMLElement | null} */ (holder.querySelector(".handle"))?.focus();
  });
  const toggle = part("show-table");
  toggle.addEventListener("click", () => {
    table.hidden = !table.hidden;
    toggle.setAttribute("aria-pressed", String(!table.hidden));
    update();
  });
  let { clientWidth } = holder;
  new ResizeObserver(() => {
    if (holder.clientWidth === clientWidth) return;
    ({ clientWidth } = holder);
    plot = drawPlot(holder, axes, runs, mark);
    update();
  }).observe(holder);
  const [low, high] = endsOf(data.primary);
  part("low").textContent = textOf(data.primary, low);
  part("high").textContent = textOf(data.primary, high);
  showControls();
  update();
}

/**
 * @param {string} text
 * @param {string} label
 * @param {boolean} disabled
 * @param {() => void} action
 */
function control(text, label, disabled, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button quiet small";
  button.textContent = text;
  button.setAttribute("aria-label", label);
  button.disabled = disabled;
  button.addEventListener("click", action);
  return button;
}

/**
 * @param {HTMLElement} holder
 * @param {Axis[]} axes
 * @param {import("./coordinate_axes.js").Ranges} ranges
 * @param {string[]} labels
 * @param {boolean[]} inside
 */
function fillTable(holder, axes, ranges, labels, inside) {
  const table = document.createElement("table");
  table.className = "table compact";
  table.createCaption().textContent = "Runs in the ranges";
  const head = table.createTHead().insertRow();
  head.append(cell("th", "Run", "col"));
  for (const axis of axes) {
    const range = ranges.get(axis.key);
    head.append(cell("th", axis.name + (range ? `: ${rangeText(axis, range)}` : ""), "col"));
  }
  const body = table.createTBody();
  labels.forEach((label, run) => {
    if (!inside[run]) return;
    const row = body.insertRow();
    row.append(
      cell("th", label, "row"),
      ...axes.map((axis) => cell("td", textOf(axis, axis.values[run]))),
    );
  });
  holder.replaceChildren(table);
}

/** @param {"th" | "td"} tag @param {string} text @param {string} [scope] */
function cell(tag, text, scope) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (scope) element.setAttribute("scope", scope);
  return element;
}
