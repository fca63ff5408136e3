/**
 * Says each problem that the server found beside the field that can fix it. The list in the side
 * panel is the only source.
 */

/** @param {HTMLElement} form */
export function followChecks(form) {
  const verdict = /** @type {HTMLElement} */ (form.querySelector("[data-verdict]"));
  document.body.addEventListener("htmx:afterSettle", () => markProblems(form, verdict));
  for (const failure of ["htmx:sendError", "htmx:responseError"]) {
    document.body.addEventListener(
      failure,
      () => (verdict.textContent = "The server did not answer: the check may be old"),
    );
  }
  document.body.addEventListener("htmx:beforeOnLoad", (event) => {
    // The answer to somebody who was signed out leads to the sign-in page; what they have written
    // would be lost.
    if (/** @type {CustomEvent} */ (event).detail.xhr.status !== 401) return;
    event.preventDefault();
    verdict.textContent = "You are signed out. Sign in in another tab, then continue here";
  });
}

/** @param {HTMLElement} form @param {HTMLElement} verdict */
function markProblems(form, verdict) {
  /** @type {Map<string, string[]>} */
  const said = new Map();
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("#check [data-target]")
  )) {
    const target = item.dataset.target ?? "";
    said.set(target, [...(said.get(target) ?? []), item.dataset.message ?? ""]);
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("[data-problem-of]")
  )) {
    const message = said.get(element.dataset.problemOf ?? "")?.join(" ") ?? "";
    if (element.textContent !== message) element.textContent = message;
  }
  verdict.textContent = form.querySelector("#problems-title")?.textContent ?? "";
  for (const control of form.querySelectorAll("[data-control]")) {
    control.toggleAttribute("aria-invalid", false);
    if (said.has(control.id)) control.setAttribute("aria-invalid", "true");
  }
}
