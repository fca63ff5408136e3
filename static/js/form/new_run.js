/**
 * The new-run page: fields follow the choices, the curve follows the fields, the server checks what
 * is written.
 */

import { copyText } from "../copy.js";
import { drawCurve } from "./curve.js";
import { applyConditions, applyMapping, markExpert } from "./fields.js";
import { manageLists } from "./lists.js";
import { followChecks } from "./problems.js";

const MODE = "new-run-mode";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#run-form"));
const figure = /** @type {HTMLElement} */ (document.querySelector("#curve"));

function refresh() {
  applyConditions(form);
  drawCurve(figure, form);
}

function setMode(/** @type {string} */ mode) {
  // Only now: a field that somebody is writing in must not vanish when its value passes by the
  // default.
  markExpert(form);
  form.dataset.mode = mode;
  for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (
    document.querySelectorAll("[data-mode-choice]")
  ))
    radio.checked = radio.value === mode;
}

form.addEventListener("input", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target instanceof HTMLSelectElement && target.dataset.location !== undefined)
    applyMapping(form, target);
  refresh();
});
form.addEventListener("keydown", (event) => {
  // Return in a field must not start a run that somebody is still writing.
  const target = /** @type {HTMLElement} */ (event.target);
  if (
    event.key === "Enter" &&
    (target instanceof HTMLInputElement || target instanceof HTMLSelectElement)
  )
    event.preventDefault();
});

/** On a narrow page the curve stands beside α and β, which would otherwise be far from it. */
function placeCurve() {
  if (narrow.matches) document.querySelector("#group-pool > .part")?.after(figure);
  else document.querySelector(".run-form-side")?.prepend(figure);
}
const narrow = matchMedia("(max-width: 960px)");
narrow.addEventListener("change", placeCurve);
placeCurve();

document.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement | null} */ (
    /** @type {HTMLElement} */ (event.target).closest("[data-copy]")
  );
  if (button) copyText(button);
});
for (const radio of document.querySelectorAll("[data-mode-choice]")) {
  // What is shown changes nothing that the server could check
  radio.addEventListener("input", (event) => event.stopPropagation());
  radio.addEventListener("change", () => {
    const mode = /** @type {HTMLInputElement} */ (radio).value;
    setMode(mode);
    localStorage.setItem(MODE, mode);
  });
}

followChecks(form);
manageLists(form, () => {
  refresh();
  form.dispatchEvent(new Event("input", { bubbles: true }));
});
setMode(localStorage.getItem(MODE) ?? form.dataset.mode ?? "simple");
refresh();
if (form.dataset.refused !== undefined)
  /** @type {HTMLElement} */ (document.querySelector("#problem-summary")).focus();
