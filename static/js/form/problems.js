/**
 * Says each problem that the server found beside the field that can mend it. The list in the side panel is the only source.
 */

/** @param {HTMLElement} form */
export function markProblems(form) {
  /** @type {Map<string, string[]>} */
  const said = new Map();
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll("#check [data-target]"))) {
    const target = item.dataset.target ?? "";
    said.set(target, [...(said.get(target) ?? []), item.dataset.message ?? ""]);
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll("[data-problem-of]"))) {
    const message = said.get(element.dataset.problemOf ?? "")?.join(" ") ?? "";
    if (element.textContent !== message) element.textContent = message;
  }
  const verdict = form.querySelector("[data-verdict]");
  if (verdict) verdict.textContent = form.querySelector("#problems-title")?.textContent ?? "";
  for (const control of form.querySelectorAll("[data-control]")) {
    control.toggleAttribute("aria-invalid", false);
    if (said.has(control.id)) control.setAttribute("aria-invalid", "true");
  }
}
