/**
 * The new-job page: shows the fields that apply, and fills in the columns and the verifier of a
 * chosen data set. The server checks each change (htmx).
 */

import { copyText } from "../copy.js";
import { pageData } from "../page.js";
import { applyConditions, applyMapping, markExpert } from "./fields.js";
import { followChecks } from "./problems.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#job-form"));

/** @type {Record<string, string>} titles of the kinds of work, with which names begin */
const titles = pageData("job-titles");
const kind = /** @type {HTMLSelectElement} */ (form.elements.namedItem("work.kind"));
const name = /** @type {HTMLInputElement} */ (form.elements.namedItem("name"));

/** A name that begins with the title of a kind is one that the page made. */
function renameByKind() {
  const old = Object.values(titles).find((title) => name.value.startsWith(`${title}: `));
  if (old) name.value = titles[kind.value] + name.value.slice(old.length);
}

form.addEventListener("input", (event) => {
  if (event.target === kind) renameByKind();
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
document.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement | null} */ (
    /** @type {HTMLElement} */ (event.target).closest("[data-copy]")
  );
  if (button) copyText(button);
});
followChecks(form);
applyConditions(form);
markExpert(form);
