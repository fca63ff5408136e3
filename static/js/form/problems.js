/**
 * Shows each problem that the server found beside the field that can fix it. The list in the side
 * panel is the only source.
 */

/** @param {HTMLElement} form */
export function followChecks(form) {
  const verdict = /** @type {HTMLElement} */ (form.querySelector("[data-verdict]"));
  document.body.addEventListener("htmx:afterSettle", () => markProblems(form, verdict));
  for (const name of ["htmx:sendError", "htmx:responseError"]) {
    document.body.addEventListener(
      name,
      () => (verdict.textContent = "The server did not answer. The check may be out of date."),
    );
  }
  document.body.addEventListener("htmx:beforeOnLoad", (event) => {
    // After a sign-out htmx would go to the sign-in page, and what is in the form would be lost.
    if (/** @type {CustomEvent} */ (event).detail.xhr.status !== 401) return;
    event.preventDefault();
    verdict.textContent = "You are signed out. Sign in in another tab, then continue here.";
  });
}

/** @param {HTMLElement} form @param {HTMLElement} verdict */
function markProblems(form, verdict) {
  const messagesByTarget = showBeside(form, "data-target", "data-problem-of");
  showBeside(form, "data-warning-target", "data-warning-of");
  verdict.textContent = form.querySelector("#problems-title")?.textContent ?? "";
  for (const control of form.querySelectorAll("[data-control]")) {
    control.toggleAttribute("aria-invalid", false);
    if (messagesByTarget.has(control.id)) control.setAttribute("aria-invalid", "true");
  }
}

/**
 * Shows the messages of the list's items with `source`, an id, in the elements whose `place` is
 * that id; returns the messages by id.
 *
 * @param {HTMLElement} form @param {string} source @param {string} place
 */
function showBeside(form, source, place) {
  /** @type {Map<string, string[]>} */
  const messagesByTarget = new Map();
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll(`#check [${source}]`)
  )) {
    const target = item.getAttribute(source) ?? "";
    messagesByTarget.set(target, [
      ...(messagesByTarget.get(target) ?? []),
      item.dataset.message ?? "",
    ]);
  }
  for (const element of form.querySelectorAll(`[${place}]`)) {
    const message = messagesByTarget.get(element.getAttribute(place) ?? "")?.join(" ") ?? "";
    if (element.textContent !== message) element.textContent = message;
  }
  return messagesByTarget;
}
