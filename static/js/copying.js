/** A page whose buttons copy what they name. */

import { copyText } from "./copy.js";

document.querySelectorAll("[data-copy]").forEach((button) => {
  button.addEventListener("click", () => copyText(/** @type {HTMLElement} */ (button)));
});
