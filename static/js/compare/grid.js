/**
 * Series of many runs on a common grid of x. On an axis of tokens or time no two runs share an x,
 * so that the common x of a chart would be as long as all series together, for each of them.
 */

/** @typedef {import("../charts/series.js").Series} Series */

/** Positions of the grid: more than a chart has pixels. */
const POSITIONS = 1600;
/** Points of a chart that are drawn where they are. */
const FEW_POINTS = 4000;

/**
 * @param {Map<string, Series>} store
 * @param {number} low
 * @param {number} high
 * @returns {Map<string, Series>} the series, at positions of the grid if they have many points
 */
export function onGrid(store, low, high) {
  const different = new Set([...store.values()].flatMap(({ x }) => x));
  if (different.size <= FEW_POINTS || !(high > low)) return store;
  const step = (high - low) / POSITIONS;
  return new Map([...store].map(([key, series]) => [key, moved(series, low, step)]));
}

/**
 * Of several points at one position the mean, the least and the greatest value are kept.
 * @param {Series} series
 * @param {number} low
 * @param {number} step
 * @returns {Series}
 */
function moved(series, low, step) {
  /** @type {Map<number, {sum: number, count: number, min: number, max: number}>} */
  const cells = new Map();
  series.x.forEach((x, i) => {
    const position = Math.round((x - low) / step);
    const cell = cells.get(position) ?? { sum: 0, count: 0, min: Infinity, max: -Infinity };
    cell.sum += series.mean[i];
    cell.count += 1;
    cell.min = Math.min(cell.min, series.min[i]);
    cell.max = Math.max(cell.max, series.max[i]);
    cells.set(position, cell);
  });
  const sorted = [...cells].sort(([a], [b]) => a - b);
  return {
    ...series,
    x: sorted.map(([position]) => low + position * step),
    mean: sorted.map(([, { sum, count }]) => sum / count),
    min: sorted.map(([, { min }]) => min),
    max: sorted.map(([, { max }]) => max),
    points: sorted.length,
  };
}
