/** The mapping page: the verifier's settings follow its kind; htmx fetches the preview. */

import { applyConditions } from "./fields.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#mapping"));
form.addEventListener("input", () => applyConditions(form));
applyConditions(form);
