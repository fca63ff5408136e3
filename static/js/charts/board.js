/**
 * The charts of one run together: one request for all of them, one zoom, one cursor, and the live points as they come.
 *
 * The page, the answers of series.json and the frames each reach up to a cursor of their own. The board follows from the least of them, so that no
 * change of the run's state falls between two; points that come twice are merged. Deltas carry steps: on another axis, and while zoomed, the board
 * asks series.json again instead, at most once in a while. A lazy board reads and draws only what it is told to look at.
 */

import { createChart } from "./chart.js";
import { keysOf } from "./columns.js";
import { emptySeries, merge, seriesOf } from "./series.js";

/**
 * @typedef {{run: string, since: number, series: string, charts: Declaration[], lazy?: boolean}} BoardData
 * @typedef {import("./columns.js").Declaration} Declaration
 * @typedef {import("../live.js").Frame} Frame
 */

const WIDTH = 800;
const REFETCH_MS = 2000;

/** @param {BoardData} declared @param {import("../live.js").Live} live @param {{receive: (frame: Frame) => void, refused: (message: string) => void}} header hears of every frame too */
export function createBoard({ run, since, series: address, charts, lazy = false }, live, header) {
  /** @type {Map<Declaration, ReturnType<typeof createChart>>} */
  const drawn = new Map();
  let shown = lazy ? [] : charts;
  /** @type {Map<string, import("./series.js").Series>} */
  let store = new Map();
  /** @type {import("./chart.js").View} */
  let view = { axis: "step", smoothing: 0, marks: [], from: null, to: null, extent: null };
  let fetched = 0;
  let loaded = 0;
  let seen = since;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  async function load() {
    const number = ++fetched;
    const keys = [...new Set(shown.flatMap((chart) => keysOf(chart.lines)))];
    if (!keys.length) return follow(keys);
    const query = new URLSearchParams([["axis", view.axis], ["width", String(WIDTH)], ...keys.map((key) => ["key", key])]);
    if (view.from !== null) query.set("from", String(view.from));
    if (view.to !== null) query.set("to", String(view.to));
    const response = await fetch(`${address}?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok || number !== fetched) return;
    const answer = await response.json();
    store = new Map(answer.series.map((/** @type {any} */ one) => [one.key, seriesOf(one)]));
    view = { ...view, marks: answer.marks };
    loaded = answer.cursor;
    show();
    follow(keys);
  }

  /** @param {string[]} keys */
  function follow(keys) {
    live.follow(run, { keys, width: WIDTH, since: keys.length ? Math.min(seen, loaded) : seen, onFrame: receive, onRefused: header.refused });
  }

  /** @param {Declaration} declared */
  function chartOf(declared) {
    const known = drawn.get(declared);
    if (known) return known;
    const made = createChart(/** @type {HTMLElement} */ (document.getElementById(`chart-${declared.id}`)), declared, run, zoom);
    drawn.set(declared, made);
    return made;
  }

  function show() {
    view = { ...view, extent: extentOf(store) };
    for (const declared of shown) chartOf(declared).show(store, view);
  }

  /** @param {Frame} frame */
  function receive(frame) {
    const last = frame.part === frame.parts - 1;
    if (last) seen = frame.cursor;
    header.receive(frame);
    if (frame.changed.includes("checkpoints")) return later();
    if (frame.type === "delta" && (!frame.series.length || frame.cursor <= loaded)) return;
    if (view.axis !== "step" || view.from !== null || (frame.type === "delta" && crowded())) return later();
    if (frame.type === "reset") replace(frame);
    else grow(frame);
    if (last) show();
  }

  /** @param {import("../live.js").Reset} frame */
  function replace({ part, parts, cursor, series }) {
    if (part === 0) store = new Map();
    for (const one of series) store.set(one.key, seriesOf(one));
    if (part === parts - 1) loaded = cursor;
  }

  /** @param {import("../live.js").Delta} frame */
  function grow({ series }) {
    for (const { key, x, y } of series) {
      const known = store.get(key) ?? emptySeries();
      merge(known, x, y);
      store.set(key, known);
    }
  }

  function crowded() {
    return [...store.values()].some((series) => series.points > 2 * WIDTH);
  }

  function later() {
    waiting ??= setTimeout(() => {
      waiting = undefined;
      load();
    }, REFETCH_MS);
  }

  /** @param {number | null} from @param {number | null} to */
  function zoom(from, to) {
    view = { ...view, from, to };
    document.querySelector("[data-zoom-out]")?.toggleAttribute("hidden", from === null);
    show();
    load();
  }

  return {
    load,
    /** Read and draw these charts and no others. @param {(declared: Declaration) => boolean} wanted */
    look(wanted) {
      for (const declared of shown) if (!wanted(declared)) drawn.get(declared)?.clear();
      shown = charts.filter(wanted);
      load();
    },
    zoom,
    /** @param {import("./chart.js").View["axis"]} axis */
    setAxis(axis) {
      view = { ...view, axis, from: null, to: null, marks: [] };
      store = new Map();
      load();
    },
    /** @param {number} smoothing */
    setSmoothing(smoothing) {
      view = { ...view, smoothing };
      show();
    },
  };
}

/** @param {Map<string, import("./series.js").Series>} store @returns {[number, number] | null} least and greatest x of all series */
function extentOf(store) {
  const ends = [...store.values()].filter((series) => series.points).flatMap(({ x }) => [x[0], x[x.length - 1]]);
  return ends.length ? [Math.min(...ends), Math.max(...ends)] : null;
}
