/**
 * The step scrubber of a panel.
 *
 * Moving it writes the step into the address and makes the panel reload itself from there
 * (hx-trigger `panel:move`). Without a step in the address the panel follows the newest
 * measurement.
 */

import { pageData } from "../page.js";

/**
 * @typedef {{steps: number[], labels: string[], index: number, follows: boolean}} Measurements as
 *   webapp/pages/panels/scrubber.py writes them
 */

// A drag over the slider passes many steps: only the one where it rests is requested.
const RELOAD_DELAY_MS = 120;

/** @param {HTMLElement} root */
export function createScrubber(root) {
  const slider = /** @type {HTMLInputElement} */ (root.querySelector("input"));
  const output = /** @type {HTMLOutputElement} */ (root.querySelector("output"));
  const followsNote = /** @type {HTMLElement} */ (root.querySelector("[data-follows]"));
  const newestButton = /** @type {HTMLElement} */ (root.querySelector('[data-scrub="newest"]'));
  /** @type {Measurements | null} */
  let measurements = pageData("scrubber-data");
  /** @type {number | null} the chosen step; null for the newest */
  let chosenStep =
    measurements && !measurements.follows ? measurements.steps[measurements.index] : null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let reloadTimer;

  /** @returns {number} index of the newest measurement at or before the chosen step */
  function currentIndex() {
    const steps = measurements?.steps ?? [];
    return chosenStep === null
      ? steps.length - 1
      : Math.max(
          0,
          steps.findLastIndex((step) => step <= /** @type {number} */ (chosenStep)),
        );
  }

  function show() {
    root.hidden = !measurements;
    if (!measurements) return;
    const index = currentIndex();
    slider.max = String(measurements.steps.length - 1);
    slider.value = String(index);
    slider.setAttribute("aria-valuetext", measurements.labels[index]);
    output.textContent = measurements.labels[index];
    followsNote.hidden = chosenStep !== null;
    newestButton.hidden = chosenStep === null;
  }

  /** @param {number | null} step */
  function choose(step) {
    chosenStep = step;
    const address = new URL(location.href);
    if (step === null) address.searchParams.delete("step");
    else address.searchParams.set("step", String(step));
    history.replaceState(null, "", address);
    show();
    clearTimeout(reloadTimer);
    reloadTimer = setTimeout(
      () =>
        document
          .getElementById(root.dataset.panel ?? "")
          ?.dispatchEvent(new CustomEvent("panel:move")),
      RELOAD_DELAY_MS,
    );
  }

  slider.addEventListener("input", () => choose(measurements?.steps[Number(slider.value)] ?? null));
  root.addEventListener("click", (event) => {
    const move = /** @type {HTMLElement} */ (event.target).closest("button")?.dataset.scrub;
    if (!move || !measurements) return;
    if (move === "newest") choose(null);
    else
      choose(
        measurements.steps[
          Math.max(0, Math.min(measurements.steps.length - 1, currentIndex() + Number(move)))
        ],
      );
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    measurements = pageData("scrubber-data");
    show();
  });
  show();
}
