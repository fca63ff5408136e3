/**
 * Uploads with a bar: the form is sent as it stands, and the page that the server answers with is
 * shown.
 */

import { bytes } from "../format.js";

for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (
  document.querySelectorAll("form[data-upload]")
)) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

/** @param {HTMLFormElement} form */
function send(form) {
  const bar = /** @type {HTMLProgressElement} */ (form.querySelector("progress"));
  const says = /** @type {HTMLElement} */ (form.querySelector("[data-upload-says]"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.responseType = "document";
  request.setRequestHeader("X-Upload", "1");
  bar.hidden = false;
  button.disabled = true;
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = loaded / total;
    says.textContent =
      loaded < total ? `${bytes(loaded)} of ${bytes(total)} sent` : "Sent. The server reads it…";
  });
  request.addEventListener("load", () => answer(request, form));
  request.addEventListener("error", () => {
    bar.hidden = true;
    button.disabled = false;
    says.textContent = "The connection broke before everything was sent. Try again.";
  });
  request.send(new FormData(form));
}

/**
 * Goes where the server sent us; a refusal is shown in place, with the chosen files kept.
 * @param {XMLHttpRequest} request
 * @param {HTMLFormElement} form
 */
function answer(request, form) {
  const address = request.getResponseHeader("Location");
  if (address) {
    location.assign(address);
    return;
  }
  const answered = /** @type {Document | null} */ (request.response);
  const reason = answered?.querySelector(".error:not(:empty), main p")?.textContent?.trim();
  const problem = /** @type {HTMLElement} */ (form.querySelector('.error[id$="-problem"]'));
  problem.textContent = reason || "The server refused the upload. Reload the page and try again.";
  form.querySelector('input[type="file"]')?.setAttribute("aria-invalid", "true");
  /** @type {HTMLElement} */ (form.querySelector("progress")).hidden = true;
  /** @type {HTMLElement} */ (form.querySelector("[data-upload-says]")).textContent = "";
  /** @type {HTMLButtonElement} */ (form.querySelector("button")).disabled = false;
}
