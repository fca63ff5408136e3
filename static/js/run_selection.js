/**
 * The rows of the list of runs by mouse and keyboard: j and k move the focus, Enter opens, x
 * selects, a click with the shift key selects everything since the last one.
 *
 * The selection is kept for the tab and the team: it stays when the rows are replaced, sorted,
 * filtered or turned over to another page, and after an action.
 */

/** @type {Set<string>} public ids of the selected runs */
const selected = new Set();
/** @type {string | null} the run whose box was clicked last */
let anchor = null;
/** What the bar says besides numbers. */
let note = "";

/** @returns {HTMLInputElement[]} */
function boxes() {
  return [...document.querySelectorAll("input[name=run][form=selection]")].map(
    (box) => /** @type {HTMLInputElement} */ (box),
  );
}

/** @returns {HTMLElement | null} */
function selectionBar() {
  return document.getElementById("selection");
}

/** @returns {string} */
function storageKey() {
  return `selected-runs-${selectionBar()?.dataset.team ?? ""}`;
}

/** @param {HTMLInputElement} box @param {boolean} checked */
function select(box, checked) {
  box.checked = checked;
  if (checked) selected.add(box.value);
  else selected.delete(box.value);
}

function showSelection() {
  const bar = selectionBar();
  if (!bar) return;
  sessionStorage.setItem(storageKey(), [...selected].join(","));
  const here = boxes();
  const shown = new Set(here.map(({ value }) => value));
  const elsewhere = [...selected].filter((run) => !shown.has(run));
  const count = selected.size - elsewhere.length;
  bar.toggleAttribute("data-active", selected.size > 0);
  const text = bar.querySelector("[data-selected]");
  if (text)
    text.textContent =
      `${selected.size} selected` +
      (elsewhere.length ? ` · ${elsewhere.length} not on this page` : "") +
      note;
  /** @type {HTMLInputElement} */ (bar.querySelector("[data-elsewhere]")).value =
    elsewhere.join(",");
  const compare = /** @type {HTMLAnchorElement | null} */ (bar.querySelector("[data-compare]"));
  if (compare) {
    compare.hidden = selected.size < 2;
    compare.href = `/compare/?runs=${[...selected].join(",")}`;
  }
  showPageChoice(here.length, count);
}

/** @param {number} length rows of the page @param {number} count of them that are selected */
function showPageChoice(length, count) {
  const all = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-select-page]"));
  if (all) {
    all.hidden = false;
    all.checked = length > 0 && count === length;
    all.indeterminate = count > 0 && count < length;
  }
  const rest = /** @type {HTMLElement | null} */ (document.querySelector("[data-select-rest]"));
  if (rest) rest.hidden = count === length;
  const matching = /** @type {HTMLElement | null} */ (
    document.querySelector("[data-select-matching]")
  );
  if (matching) matching.hidden = count < length || note !== "" || selected.size > length;
}

/** Read the selection that this tab had, without what an undo names as gone from the list. */
function readSelection() {
  selected.clear();
  (sessionStorage.getItem(storageKey()) ?? "")
    .split(",")
    .filter(Boolean)
    .forEach((run) => selected.add(run));
  const shown = new Set(boxes().map(({ value }) => value));
  document.querySelectorAll("#messages form[data-gone] input[name=run]").forEach((field) => {
    for (const run of /** @type {HTMLInputElement} */ (field).value.split(","))
      if (!shown.has(run)) selected.delete(run);
  });
}

/** Apply the selection to the present rows. */
function restoreSelection() {
  boxes().forEach((box) => select(box, selected.has(box.value)));
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
  note = "";
  showSelection();
}

/** @param {boolean} checked */
function togglePage(checked) {
  boxes().forEach((box) => select(box, checked));
  note = "";
  showSelection();
}

/** @param {string} address of the ids of all runs that match */
async function selectMatching(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  if (!response.ok) {
    note = " · the runs could not be read: try again";
  } else {
    const { runs, more } = await response.json();
    selected.clear();
    runs.forEach((/** @type {string} */ run) => selected.add(run));
    note = more ? " · the first of those that match" : " · all that match";
  }
  restoreSelection();
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

/** @param {MouseEvent} event */
function clicked({ target, shiftKey }) {
  if (!(target instanceof HTMLElement)) return;
  const box = boxes().find((each) => each === target);
  const matching = target.dataset.selectMatching;
  if (box) toggled(box, shiftKey);
  else if (target.matches("[data-select-page]"))
    togglePage(/** @type {HTMLInputElement} */ (target).checked);
  else if (target.matches("[data-select-rest]")) togglePage(true);
  else if (matching !== undefined) void selectMatching(matching);
}

export function followSelection() {
  document.addEventListener("click", clicked);
  document.addEventListener("keydown", (event) => {
    const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
    if (!hasModifier && !isTyping(event.target) && pressed(event)) event.preventDefault();
  });
  selectionBar()?.addEventListener("reset", () => {
    selected.clear();
    note = "";
    restoreSelection();
  });
  document.body.addEventListener("htmx:afterSettle", restoreSelection);
  // A page that the browser shows again as it was may be older than the selection.
  window.addEventListener("pageshow", () => {
    readSelection();
    restoreSelection();
  });
  readSelection();
  restoreSelection();
}
