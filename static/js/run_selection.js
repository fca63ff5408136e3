/**
 * The rows of the list of runs by mouse and keyboard: j and k move the focus, Enter opens, x
 * selects, a click with the shift key selects everything since the last one.
 *
 * The rows are replaced when runs change: the selection is kept here and applied to the new rows.
 */

/** @type {Set<string>} public ids of the selected runs */
const selected = new Set();
/** @type {string | null} the run whose box was clicked last */
let anchor = null;

/** @returns {HTMLInputElement[]} */
function boxes() {
  return [...document.querySelectorAll("input[name=run][form=selection]")].map(
    (box) => /** @type {HTMLInputElement} */ (box),
  );
}

/** @param {HTMLInputElement} box @param {boolean} checked */
function select(box, checked) {
  box.checked = checked;
  if (checked) selected.add(box.value);
  else selected.delete(box.value);
}

function showSelection() {
  const bar = document.getElementById("selection");
  if (!bar) return;
  bar.toggleAttribute("data-active", selected.size > 0);
  const text = bar.querySelector("[data-selected]");
  if (text) text.textContent = `${selected.size} selected`;
  const compare = /** @type {HTMLAnchorElement | null} */ (bar.querySelector("[data-compare]"));
  if (compare) {
    compare.hidden = selected.size < 2;
    compare.href = `/compare/?runs=${[...selected].join(",")}`;
  }
}

/** Apply the selection to the present rows; runs without a row are not selected any more. */
function restoreSelection() {
  const present = boxes();
  const values = new Set(present.map((box) => box.value));
  selected.forEach((run) => values.has(run) || selected.delete(run));
  present.forEach((box) => select(box, box.checked || selected.has(box.value)));
  showSelection();
}

/** @param {HTMLInputElement} box @param {boolean} isRange */
function toggled(box, isRange) {
  const all = boxes();
  const from = all.findIndex(({ value }) => value === anchor);
  const to = all.indexOf(box);
  const range = isRange && from >= 0 ? all.slice(Math.min(from, to), Math.max(from, to) + 1) : [];
  [...range, box].forEach((each) => select(each, box.checked));
  anchor = box.value;
  showSelection();
}

/** @param {number} distance rows down from the focused one; the first row if none is */
function moveFocus(distance) {
  const rows = [...document.querySelectorAll("tr[data-run]")];
  const current = rows.findIndex((row) => row.contains(document.activeElement));
  const index = current < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, current + distance));
  const link = /** @type {HTMLElement | null} */ (rows[index]?.querySelector("th a"));
  link?.focus();
}

/** @param {KeyboardEvent} event @returns {boolean} whether it was one of the keys of the list */
function pressed({ key }) {
  if (key === "j" || key === "k") moveFocus(key === "j" ? 1 : -1);
  else if (key === "x") {
    const row = document.activeElement?.closest("tr[data-run]");
    const box = /** @type {HTMLInputElement | null} */ (row?.querySelector("input[name=run]"));
    if (!box) return false;
    box.checked = !box.checked;
    toggled(box, false);
  } else return false;
  return true;
}

/** @param {EventTarget | null} target @returns {boolean} whether keys write text there */
function isTyping(target) {
  return (
    target instanceof Element && target.matches("input:not([type=checkbox]), select, textarea")
  );
}

export function followSelection() {
  document.addEventListener("click", (event) => {
    const box = /** @type {HTMLInputElement | undefined} */ (
      boxes().find((each) => each === event.target)
    );
    if (box) toggled(box, event.shiftKey);
  });
  document.addEventListener("keydown", (event) => {
    const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
    if (!hasModifier && !isTyping(event.target) && pressed(event)) event.preventDefault();
  });
  document.getElementById("selection")?.addEventListener("reset", () => {
    selected.clear();
    boxes().forEach((box) => select(box, false));
    showSelection();
  });
  document.body.addEventListener("htmx:afterSettle", restoreSelection);
  // A browser that goes back restores the boxes.
  restoreSelection();
}
