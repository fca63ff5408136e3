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
  /** @type {Map<string, string[]>} */
  const messagesByTarget = new Map();
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("#check [data-target]")
  )) {
    const target = item.dataset.target ?? "";
    messagesByTarget.set(target, [
      ...(messagesByTarget.get(target) ?? []),
      item.dataset.message ?? "",
    ]);
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("[data-problem-of]")
  )) {
    const message = messagesByTarget.get(element.dataset.problemOf ?? "")?.join(" ") ?? "";
    if (element.textContent !== message) element.textContent = message;
  }
  verdict.textContent = form.querySelector("#problems-title")?.textContent ?? "";
  for (const control of form.querySelectorAll("[data-control]")) {
    control.toggleAttribute("aria-invalid", false);
    if (messagesByTarget.has(control.id)) control.setAttribute("aria-invalid", "true");
  }
}
