/**
 * The new-run page: shows the fields that apply. The server checks each change and draws the curve
 * (htmx).
 */

import { copyText } from "../copy.js";
import { applyConditions, applyMapping, markExpert } from "./fields.js";
import { manageLists } from "./lists.js";
import { followChecks } from "./problems.js";

const MODE_KEY = "new-run-mode";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#run-form"));
const figure = /** @type {HTMLElement} */ (document.querySelector("#curve"));

function setMode(/** @type {string} */ mode) {
  // Not on every input: a field must not disappear while its value is, for a moment, the default.
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
  applyConditions(form);
});
form.addEventListener("keydown", (event) => {
  // The Return key in a field must not start a run that is not complete yet.
  const target = /** @type {HTMLElement} */ (event.target);
  if (
    event.key === "Enter" &&
    (target instanceof HTMLInputElement || target instanceof HTMLSelectElement)
  )
    event.preventDefault();
});

/** On a narrow page the curve is shown below α and β; the side panel would be far from them. */
function placeCurve() {
  if (narrow.matches) document.querySelector("#group-pool > .subgroup")?.after(figure);
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
  // The mode changes no setting, so the server need not check again.
  radio.addEventListener("input", (event) => event.stopPropagation());
  radio.addEventListener("change", () => {
    const mode = /** @type {HTMLInputElement} */ (radio).value;
    setMode(mode);
    localStorage.setItem(MODE_KEY, mode);
  });
}

followChecks(form);
manageLists(form, () => {
  applyConditions(form);
  form.dispatchEvent(new Event("input", { bubbles: true }));
});
setMode(localStorage.getItem(MODE_KEY) ?? form.dataset.mode ?? "simple");
applyConditions(form);
if (form.dataset.refused !== undefined)
  /** @type {HTMLElement} */ (document.querySelector("#problem-summary")).focus();
