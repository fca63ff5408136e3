/**
 * The step scrubber of a panel. Moving it writes the step into the address and asks the panel to load itself from there (an hx-trigger of
 * the panel); at the newest step the address has none, and what comes is followed.
 */

import { pageData } from "../page.js";

/** @typedef {{steps: number[], words: string[], at: number, follows: boolean}} Measured */

const PAUSE_MS = 120;

/** @param {HTMLElement} root */
export function createScrubber(root) {
  const range = /** @type {HTMLInputElement} */ (root.querySelector("input"));
  const output = /** @type {HTMLOutputElement} */ (root.querySelector("output"));
  const follows = /** @type {HTMLElement} */ (root.querySelector("[data-follows]"));
  const newest = /** @type {HTMLElement} */ (root.querySelector('[data-scrub="newest"]'));
  /** @type {Measured | null} */
  let measured = pageData("scrubber-data");
  /** @type {number | null} the step that was asked for; null for the newest */
  let wanted = measured && !measured.follows ? measured.steps[measured.at] : null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  /** @returns {number} */
  function place() {
    const steps = measured?.steps ?? [];
    return wanted === null ? steps.length - 1 : Math.max(0, steps.findLastIndex((step) => step <= /** @type {number} */ (wanted)));
  }

  function show() {
    root.hidden = !measured;
    if (!measured) return;
    const at = place();
    range.max = String(measured.steps.length - 1);
    range.value = String(at);
    range.setAttribute("aria-valuetext", measured.words[at]);
    output.textContent = measured.words[at];
    follows.hidden = wanted !== null;
    newest.hidden = wanted === null;
  }

  /** @param {number | null} step */
  function go(step) {
    wanted = step;
    const address = new URL(location.href);
    if (step === null) address.searchParams.delete("step");
    else address.searchParams.set("step", String(step));
    history.replaceState(null, "", address);
    show();
    clearTimeout(waiting);
    waiting = setTimeout(() => document.getElementById(root.dataset.panel ?? "")?.dispatchEvent(new CustomEvent("panel:move")), PAUSE_MS);
  }

  range.addEventListener("input", () => go(measured?.steps[Number(range.value)] ?? null));
  root.addEventListener("click", (event) => {
    const way = /** @type {HTMLElement} */ (event.target).closest("button")?.dataset.scrub;
    if (!way || !measured) return;
    if (way === "newest") go(null);
    else go(measured.steps[Math.max(0, Math.min(measured.steps.length - 1, place() + Number(way)))]);
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    measured = pageData("scrubber-data");
    show();
  });
  show();
}
