/**
 * The new-job page: shows the fields that apply, and fills in the columns and the verifier of a
 * chosen data set.
 */

import { applyConditions, applyMapping, markExpert } from "./fields.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#job-form"));

form.addEventListener("input", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target instanceof HTMLSelectElement && target.dataset.location !== undefined)
    applyMapping(form, target);
  applyConditions(form);
});
for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (
  form.querySelectorAll("[data-mode-choice]")
)) {
  radio.addEventListener("change", () => {
    markExpert(form);
    form.dataset.mode = radio.value;
  });
}
applyConditions(form);
markExpert(form);
