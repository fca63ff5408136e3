/** The tab with a run's definition: like every tab, and its text can be copied. */

import { copyText } from "./copy.js";
import "./run.js";

document.querySelectorAll("[data-copy]").forEach((button) => {
  button.addEventListener("click", () => copyText(/** @type {HTMLElement} */ (button)));
});
