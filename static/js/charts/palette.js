/**
 * Colours and dashes of the series, read from the style sheet so that charts follow light and dark
 * mode.
 */

/** Dashes distinguish series for readers who cannot distinguish the colours. @type {number[][]} */
export const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2]];

const dark = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: dark)") : null;

/** @param {string} name of a custom property, without the dashes @returns {string} */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** @param {number} index @returns {string} */
export function colour(index) {
  return token(`series-${(index % DASHES.length) + 1}`);
}

/**
 * The dashes of the line of that number. After the last colour the same colours come again with
 * other dashes.
 * @param {number} index
 * @returns {number[]}
 */
export function dashes(index) {
  return DASHES[(index + Math.floor(index / DASHES.length)) % DASHES.length];
}

/** @param {string} hex @param {number} alpha @returns {string} */
export function faint(hex, alpha) {
  return `${hex}${Math.round(alpha * 255)
    .toString(16)
    .padStart(2, "0")}`;
}

/** @param {() => void} redraw called when the person's colour scheme changes */
export function onSchemeChange(redraw) {
  dark?.addEventListener("change", redraw);
}
