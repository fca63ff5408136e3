/**
 * Uploads with a progress bar: sends the form and goes to the page that the server names, or
 * shows its error.
 */

import { bytes } from "../format.js";

/** Characters of a plain answer, for example of a proxy, that are shown. */
const LONGEST_REASON = 300;

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
  const status = /** @type {HTMLElement} */ (form.querySelector("[data-upload-status]"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.setRequestHeader("X-Upload", "1");
  bar.hidden = false;
  button.disabled = true;
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = loaded / total;
    status.textContent =
      loaded < total
        ? `${bytes(loaded)} of ${bytes(total)} sent`
        : "Sent. The server is reading it…";
  });
  request.addEventListener("load", () => showResponse(request, form));
  request.addEventListener("error", () => {
    bar.hidden = true;
    button.disabled = false;
    // A server that refuses a body by its length closes the connection before it has read it.
    status.textContent =
      "The connection was lost during the upload. Try again; the file may be larger than the server takes.";
  });
  request.send(new FormData(form));
}

/**
 * Goes to the page that the server names, or shows why it refused; the chosen files stay chosen.
 * @param {XMLHttpRequest} request
 * @param {HTMLFormElement} form
 */
function showResponse(request, form) {
  const address = request.getResponseHeader("Location");
  if (address) {
    location.assign(address);
    return;
  }
  const reason = reasonIn(request);
  const problem = /** @type {HTMLElement} */ (form.querySelector('.error[id$="-problem"]'));
  problem.textContent = reason || "The server refused the upload. Reload the page and try again.";
  form.querySelector('input[type="file"]')?.setAttribute("aria-invalid", "true");
  /** @type {HTMLElement} */ (form.querySelector("progress")).hidden = true;
  /** @type {HTMLElement} */ (form.querySelector("[data-upload-status]")).textContent = "";
  /** @type {HTMLButtonElement} */ (form.querySelector("button")).disabled = false;
}

/**
 * Why the server refused: a sentence of its page, or its plain text.
 * @param {XMLHttpRequest} request
 * @returns {string}
 */
function reasonIn(request) {
  const text = request.responseText;
  if (!request.getResponseHeader("Content-Type")?.startsWith("text/html")) {
    return text.trim().slice(0, LONGEST_REASON);
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  // The form's page says it beside the field, below a help text; other pages in their first line.
  const sentence =
    page.querySelector(".error:not(:empty)") ??
    page.querySelector("main:not(:has(form[data-upload])) p") ??
    page.querySelector("body:not(:has(main)) p");
  return sentence?.textContent?.trim() ?? "";
}
