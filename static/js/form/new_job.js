/**
 * The new-job page: fields follow the choices, and a chosen data set brings its columns and
 * verifier.
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
