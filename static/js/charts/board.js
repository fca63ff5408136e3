/**
 * The charts of one run together: one request for all of them, one zoom, one cursor, and the live points as they come.
 *
 * The page, the answers of series.json and the frames each reach up to a cursor of their own. The board follows from the least of them, so that no
 * change of the run's state falls between two; points that come twice are merged. Deltas carry steps: on another axis, and while zoomed, the board
 * asks series.json again instead, at most once in a while.
 */

import { createChart } from "./chart.js";
import { keysOf } from "./columns.js";
import { emptySeries, merge, seriesOf } from "./series.js";

/**
 * @typedef {{run: string, since: number, series: string, charts: import("./columns.js").Declaration[]}} BoardData
 * @typedef {import("../live.js").Frame} Frame
 */

const WIDTH = 800;
const REFETCH_MS = 2000;

/** @param {BoardData} declared @param {import("../live.js").Live} live @param {{receive: (frame: Frame) => void, refused: (message: string) => void}} header hears of every frame too */
export function createBoard({ run, since, series: address, charts }, live, header) {
  const keys = [...new Set(charts.flatMap((chart) => keysOf(chart.lines)))];
  const drawn = charts.map((chart) => createChart(/** @type {HTMLElement} */ (document.getElementById(`chart-${chart.id}`)), chart, run, zoom));
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
    const query = new URLSearchParams({ keys: keys.join(","), axis: view.axis, width: String(WIDTH) });
    if (view.from !== null) query.set("from", String(view.from));
    if (view.to !== null) query.set("to", String(view.to));
    const response = await fetch(`${address}?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok || number !== fetched) return;
    const answer = await response.json();
    store = new Map(answer.series.map((/** @type {any} */ one) => [one.key, seriesOf(one)]));
    view = { ...view, marks: answer.marks };
    loaded = answer.cursor;
    show();
    live.follow(run, { keys, width: WIDTH, since: Math.min(seen, loaded), onFrame: receive, onRefused: header.refused });
  }

  function show() {
    view = { ...view, extent: extentOf(store) };
    for (const chart of drawn) chart.show(store, view);
  }

  /** @param {Frame} frame */
  function receive(frame) {
    seen = frame.cursor;
    header.receive(frame);
    if (frame.type === "reset" || frame.changed?.includes("checkpoints")) return later();
    if (!frame.series.length || frame.cursor <= loaded) return;
    if (view.axis !== "step" || view.from !== null || crowded()) return later();
    for (const { key, x, y } of frame.series) {
      const series = store.get(key) ?? emptySeries();
      merge(series, x, y);
      store.set(key, series);
    }
    show();
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
