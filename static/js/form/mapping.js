/** The mapping page: shows the settings of the chosen verifier; htmx fetches the preview. */

import { applyConditions } from "./fields.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#mapping"));
form.addEventListener("input", () => applyConditions(form));
applyConditions(form);
