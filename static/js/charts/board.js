/**
 * The charts of one run: one request for all of them, one zoom, one cursor, and live points.
 *
 * The page, each answer of series.json and each frame contain everything up to a cursor of their
 * own. The board subscribes from the smallest of them, so that no change is lost; points that
 * arrive twice are merged. Live points carry steps: on another axis, and while zoomed, the board
 * requests series.json again, at most once per REFETCH_MS. A lazy board reads and draws only the
 * charts that `showOnly` selects.
 */

import { createChart, EMPTY_VIEW } from "./chart.js";
import { keysOf } from "./columns.js";
import { emptySeries, extentOf, merge, seriesOf } from "./series.js";

/**
 * @typedef {{run: string, since: number, series: string, charts: Declaration[], lazy?: boolean}}
 *   BoardData
 * @typedef {import("./columns.js").Declaration} Declaration
 * @typedef {import("../live.js").Frame} Frame
 * @typedef {{receive: (frame: Frame) => void, refused: (message: string) => void}} FrameListener
 */

// Buckets per series: about the width of a chart in pixels.
const WIDTH = 800;
const REFETCH_MS = 2000;

/**
 * @param {BoardData} data
 * @param {import("../live.js").Live} live
 * @param {FrameListener} header also receives every frame
 */
export function createBoard({ run, since, series: address, charts, lazy = false }, live, header) {
  /** @type {Map<Declaration, ReturnType<typeof createChart>>} */
  const createdCharts = new Map();
  let shown = lazy ? [] : charts;
  /** @type {Map<string, import("./series.js").Series>} */
  let store = new Map();
  let view = EMPTY_VIEW;
  let requestNumber = 0;
  /** Cursor of the loaded series, and of the newest frame. */
  let loadedCursor = 0;
  let seenCursor = since;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let refetchTimer;

  async function load() {
    const number = ++requestNumber;
    const keys = [...new Set(shown.flatMap((chart) => keysOf(chart.lines)))];
    if (!keys.length) return follow(keys);
    const query = new URLSearchParams([
      ["axis", view.axis],
      ["width", String(WIDTH)],
      ...keys.map((key) => ["key", key]),
    ]);
    if (view.from !== null) query.set("from", String(view.from));
    if (view.to !== null) query.set("to", String(view.to));
    const response = await fetch(`${address}?${query}`, {
      headers: { Accept: "application/json" },
    });
    // A newer request may have been sent while this one was on its way.
    // A guest whose link was revoked is sent to the sign-in page.
    if (!response.ok || response.redirected || number !== requestNumber) return;
    const answer = await response.json();
    store = new Map(
      answer.series.map((/** @type {any} */ series) => [series.key, seriesOf(series)]),
    );
    view = { ...view, marks: answer.marks, bases: answer.bases };
    loadedCursor = answer.cursor;
    show();
    follow(keys);
  }

  /** @param {string[]} keys */
  function follow(keys) {
    live.follow(run, {
      keys,
      width: WIDTH,
      since: keys.length ? Math.min(seenCursor, loadedCursor) : seenCursor,
      onFrame: receive,
      onRefused: header.refused,
    });
  }

  /** @param {Declaration} declaration */
  function chartOf(declaration) {
    let chart = createdCharts.get(declaration);
    if (!chart) {
      chart = createChart(
        /** @type {HTMLElement} */ (document.getElementById(`chart-${declaration.id}`)),
        declaration,
        run,
        zoom,
      );
      createdCharts.set(declaration, chart);
    }
    return chart;
  }

  function show() {
    view = { ...view, extent: extentOf(store) };
    for (const declaration of shown) chartOf(declaration).show(store, view);
  }

  /** @param {Frame} frame */
  function receive(frame) {
    const isLastPart = frame.part === frame.parts - 1;
    if (isLastPart) seenCursor = frame.cursor;
    header.receive(frame);
    if (frame.changed.includes("checkpoints")) return refetchLater();
    // The baselines come with series.json.
    if (frame.changed.includes("evaluation")) refetchLater();
    if (frame.type === "delta" && (!frame.series.length || frame.cursor <= loadedCursor)) return;
    if (
      view.axis !== "step" ||
      view.from !== null ||
      (frame.type === "delta" && hasTooManyPoints())
    )
      return refetchLater();
    if (frame.type === "reset") replace(frame);
    else addPoints(frame);
    if (isLastPart) show();
  }

  /** @param {import("../live.js").Reset} frame */
  function replace({ part, parts, cursor, series }) {
    if (part === 0) store = new Map();
    for (const buckets of series) store.set(buckets.key, seriesOf(buckets));
    if (part === parts - 1) loadedCursor = cursor;
  }

  /** @param {import("../live.js").Delta} frame */
  function addPoints({ series }) {
    for (const { key, x, y } of series) {
      const stored = store.get(key) ?? emptySeries();
      merge(stored, x, y);
      store.set(key, stored);
    }
  }

  function hasTooManyPoints() {
    return [...store.values()].some(({ points, broken }) => points + broken.length > 2 * WIDTH);
  }

  function refetchLater() {
    refetchTimer ??= setTimeout(() => {
      refetchTimer = undefined;
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
    /**
     * Read and draw only the charts for which `isShown` is true.
     * @param {(declaration: Declaration) => boolean} isShown
     */
    showOnly(isShown) {
      for (const declaration of shown)
        if (!isShown(declaration)) createdCharts.get(declaration)?.clear();
      shown = charts.filter(isShown);
      load();
    },
    zoom,
    /** @param {import("./chart.js").View["axis"]} axis */
    setAxis(axis) {
      view = { ...view, axis, from: null, to: null, marks: [], bases: {} };
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
