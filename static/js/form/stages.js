/**
 * The list of stages: add, remove, move. A stage's place in the list is the number in the names of its fields.
 */

const NUMBERED = ["name", "id", "for", "aria-describedby", "aria-labelledby", "aria-label", "data-when", "data-field", "data-problem-of"];

/** @param {HTMLElement} form @param {() => void} onChange called after the list has changed */
export function manageStages(form, onChange) {
  const list = /** @type {HTMLOListElement} */ (form.querySelector("#stages"));
  const template = /** @type {HTMLTemplateElement} */ (form.querySelector("#new-stage"));
  const status = /** @type {HTMLElement} */ (form.querySelector("#stages-status"));

  /** @param {string} message @param {HTMLElement | null} focus */
  const changed = (message, focus) => {
    renumber(list);
    status.textContent = message;
    focus?.focus();
    onChange();
  };

  form.querySelector("[data-add-stage]")?.addEventListener("click", () => {
    const stage = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (template.content.cloneNode(true)).firstElementChild);
    list.append(stage);
    changed(`Stage ${list.children.length} added.`, null);
    const name = /** @type {HTMLInputElement} */ (stage.querySelector('input[name$=".name"]'));
    name.value = freeName(list);
    name.select();
  });

  list.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("button");
    const stage = /** @type {HTMLElement | null} */ (button?.closest("[data-stage]") ?? null);
    if (!button || !stage) return;
    if (button.dataset.move === "up" && stage.previousElementSibling) stage.previousElementSibling.before(stage);
    else if (button.dataset.move === "down" && stage.nextElementSibling) stage.nextElementSibling.after(stage);
    else if (button.hasAttribute("data-remove")) return remove(stage);
    else return;
    changed(`Now stage ${[...list.children].indexOf(stage) + 1} of ${list.children.length}.`, button);
  });

  /** @param {HTMLElement} stage */
  function remove(stage) {
    const neighbour = stage.nextElementSibling ?? stage.previousElementSibling;
    stage.remove();
    const next = neighbour?.querySelector("[data-remove]") ?? form.querySelector("[data-add-stage]");
    changed(`Stage removed, ${list.children.length} left.`, /** @type {HTMLElement | null} */ (next));
  }
}

/** @param {HTMLElement} list */
export function renumber(list) {
  for (const [position, stage] of [...list.children].entries()) {
    for (const element of [stage, ...stage.querySelectorAll("*")]) {
      for (const attribute of NUMBERED) {
        const value = element.getAttribute(attribute);
        if (value) element.setAttribute(attribute, numbered(value, position));
      }
    }
    const number = stage.querySelector("[data-stage-number]");
    if (number) number.textContent = String(position + 1);
  }
}

/** @param {string} text @param {number} position @returns {string} the same with the number of its stage replaced */
function numbered(text, position) {
  return text.replace(/stages\.\d+/g, `stages.${position}`).replace(/stages-\d+/g, `stages-${position}`).replace(/([Ss]tage )\d+/g, `$1${position + 1}`);
}

/** @param {HTMLElement} list @returns {string} a name that no stage has yet */
function freeName(list) {
  const taken = new Set([...list.querySelectorAll('input[name$=".name"]')].map((input) => /** @type {HTMLInputElement} */ (input).value));
  for (let number = list.children.length; ; number += 1) if (!taken.has(`stage-${number}`)) return `stage-${number}`;
}
