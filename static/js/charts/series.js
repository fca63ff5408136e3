/**
 * The data of a chart: series whose points are merged by x, so that a repeated point is drawn once
 * and a late one is inserted in order.
 *
 * A point is a bucket of `mean`, `min` and `max`; a live point is a bucket of one value. Values
 * that are not finite numbers (a NaN loss) are not drawn; their x is stored in `broken`, ascending.
 */

/** @typedef {import("../live.js").Value} Value */

/**
 * @typedef {{x: number[], mean: number[], min: number[], max: number[], broken: number[], count:
 *   number, points: number, thinned: number}} Series
 * `count` values were measured, `points` of them are drawn. `thinned`: steps per bucket if the
 * server no longer stores single points, else 0.
 */

/**
 * @typedef {Pick<import("../live.js").Buckets, "x" | "mean" | "min" | "max" | "count" | "marks"> &
 *   {thinned?: number}} Answer
 */

/** @returns {Series} */
export function emptySeries() {
  return { x: [], mean: [], min: [], max: [], broken: [], count: 0, points: 0, thinned: 0 };
}

/**
 * @param {Answer} answer as series.json and the frame `reset` send it
 * @returns {Series}
 */
export function seriesOf(answer) {
  const series = emptySeries();
  answer.x.forEach((x, i) => {
    const mean = answer.mean[i];
    if (isNumber(mean)) push(series, x, mean, answer.min[i], answer.max[i]);
  });
  series.broken = [...new Set(answer.marks.map(([x]) => x))].sort((a, b) => a - b);
  series.count = answer.count;
  series.points = series.x.length;
  series.thinned = answer.thinned ?? 0;
  return series;
}

/**
 * Merge live points into `series`.
 * @param {Series} series
 * @param {number[]} xs
 * @param {Value[]} ys
 */
export function merge(series, xs, ys) {
  xs.forEach((x, i) => {
    const y = ys[i];
    if (!isNumber(y)) {
      const place = insertionIndex(series.broken, x);
      if (series.broken[place] !== x) series.broken.splice(place, 0, x);
      return;
    }
    const index = insertionIndex(series.x, x);
    const exists = series.x[index] === x;
    for (const column of [series.mean, series.min, series.max])
      column.splice(index, exists ? 1 : 0, y);
    if (exists) return;
    series.x.splice(index, 0, x);
    series.count += 1;
    series.points += 1;
  });
}

/**
 * Exponential smoothing, corrected for the missing history (as Adam corrects its moments).
 * @param {number[]} values
 * @param {number} weight 0 for none
 * @returns {number[]}
 */
export function smooth(values, weight) {
  let sum = 0;
  let mass = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

/**
 * Columns over one common x, in the format of uPlot; null where a series has no point.
 * @param {{x: number[], columns: number[][]}[]} groups columns that share their x
 * @returns {(number | null)[][]} x, then every column
 */
export function align(groups) {
  const x = [...new Set(groups.flatMap((group) => group.x))].sort((a, b) => a - b);
  const rows = groups.flatMap(({ x: groupX, columns }) => {
    const indexOf = new Map(groupX.map((value, i) => [value, i]));
    return columns.map((column) => x.map((value) => column[indexOf.get(value) ?? -1] ?? null));
  });
  return [x, ...rows];
}

/**
 * @param {Map<string, Series>} store
 * @returns {[number, number] | null} smallest and largest x of all series, also of values that are
 *   not finite
 */
export function extentOf(store) {
  const ends = [...store.values()]
    .flatMap(({ x, broken }) => [x, broken])
    .filter((xs) => xs.length)
    .flatMap((xs) => [xs[0], xs[xs.length - 1]]);
  return ends.length ? [Math.min(...ends), Math.max(...ends)] : null;
}

/**
 * @param {Series} series
 * @returns {boolean} whether a point stands for several values; fewer points than values may also
 *   be due to values that are not finite
 */
export function hasBuckets({ mean, min, max }) {
  return mean.some((value, i) => min[i] !== value || max[i] !== value);
}

/**
 * @param {number[]} xs ascending
 * @param {number} x
 * @returns {number} the index of x, or where to insert it
 */
function insertionIndex(xs, x) {
  let low = 0;
  let high = xs.length;
  if (!high || xs[high - 1] < x) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * @param {Series} series
 * @param {number} x
 * @param {number} mean
 * @param {Value} min
 * @param {Value} max
 */
function push(series, x, mean, min, max) {
  series.x.push(x);
  series.mean.push(mean);
  series.min.push(isNumber(min) ? min : mean);
  series.max.push(isNumber(max) ? max : mean);
}

/** @param {Value} value @returns {value is number} */
function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
