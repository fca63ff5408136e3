/**
 * The data behind a chart: series by key, merged by x so that a point that arrives twice is drawn once and a late one finds its place.
 *
 * A point is a bucket of `mean`, `min` and `max`; a live point is a bucket of one. What is not a finite number (a NaN loss) keeps its x in `broken`.
 */

/**
 * @typedef {{x: number[], mean: number[], min: number[], max: number[], broken: number[], count: number, points: number, thinned: number}} Series
 * `count` values were measured, `points` of them are drawn. `thinned`: no bucket is finer than that many steps, as single points are not kept any more.
 */

/** @returns {Series} */
export function emptySeries() {
  return { x: [], mean: [], min: [], max: [], broken: [], count: 0, points: 0, thinned: 0 };
}

/**
 * @param {{x: number[], mean: any[], min: any[], max: any[], count: number, marks: [number, any][], thinned?: number}} answer as series.json sends it
 * @returns {Series}
 */
export function seriesOf(answer) {
  const series = emptySeries();
  answer.x.forEach((x, i) => {
    if (isNumber(answer.mean[i])) push(series, x, answer.mean[i], answer.min[i], answer.max[i]);
  });
  series.broken = answer.marks.map(([x]) => x);
  series.count = answer.count;
  series.points = series.x.length;
  series.thinned = answer.thinned ?? 0;
  return series;
}

/** Merge live points into `series`. @param {Series} series @param {number[]} xs @param {any[]} ys */
export function merge(series, xs, ys) {
  xs.forEach((x, i) => {
    const y = ys[i];
    if (!isNumber(y)) {
      if (!series.broken.includes(x)) series.broken.push(x);
      return;
    }
    const at = positionOf(series.x, x);
    const known = series.x[at] === x;
    for (const column of [series.mean, series.min, series.max]) column.splice(at, known ? 1 : 0, y);
    if (known) return;
    series.x.splice(at, 0, x);
    series.count += 1;
    series.points += 1;
  });
}

/** Exponential smoothing without the pull towards the first value. @param {number[]} values @param {number} weight 0 is none @returns {number[]} */
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
 * Columns over one common x, as uPlot wants them; null where a series has no point.
 * @param {{x: number[], columns: number[][]}[]} parts @returns {(number | null)[][]} first x, then every column of every part
 */
export function align(parts) {
  const x = [...new Set(parts.flatMap((part) => part.x))].sort((a, b) => a - b);
  const rows = parts.flatMap(({ x: own, columns }) => {
    const at = new Map(own.map((value, i) => [value, i]));
    return columns.map((column) => x.map((value) => column[at.get(value) ?? -1] ?? null));
  });
  return [x, ...rows];
}

/** @param {number[]} xs ascending @param {number} x @returns {number} where x is or belongs */
function positionOf(xs, x) {
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

/** @param {Series} series @param {number} x @param {number} mean @param {number} min @param {number} max */
function push(series, x, mean, min, max) {
  series.x.push(x);
  series.mean.push(mean);
  series.min.push(isNumber(min) ? min : mean);
  series.max.push(isNumber(max) ? max : mean);
}

/** @param {any} value @returns {boolean} */
function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
