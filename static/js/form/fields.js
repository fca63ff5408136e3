/**
 * Values of the form's fields, and which fields apply under the present choices.
 */

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

const CONTROLS = "input, select, textarea";

/**
 * @param {ParentNode} form
 * @param {string} name
 * @returns {string | undefined} value of the enabled control with that name
 */
export function valueOf(form, name) {
  const control = /** @type {Control | null} */ (
    form.querySelector(`[name="${CSS.escape(name)}"]:not(:disabled)`)
  );
  return control?.value;
}

/**
 * Shows the fields that apply under the present choices; the others are hidden and not sent.
 * @param {HTMLElement} form
 */
export function applyConditions(form) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("[data-when]")
  )) {
    const conditions = Object.entries(
      /** @type {Record<string, string[]>} */ (JSON.parse(element.dataset.when ?? "{}")),
    );
    show(
      element,
      conditions.every(([name, values]) => values.includes(valueOf(form, name) ?? "")),
    );
  }
  for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (
    form.querySelectorAll("select[data-location]")
  ))
    applyLocation(select);
}

/**
 * Marks what only the expert mode shows: expert settings at their default, and their groups.
 * @param {HTMLElement} form
 */
export function markExpert(form) {
  for (const field of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("[data-hidden-at]")
  )) {
    const hiddenAt = JSON.stringify(JSON.parse(field.dataset.hiddenAt ?? "[]"));
    field.classList.toggle("expert", JSON.stringify(valuesIn(field)) === hiddenAt);
  }
  for (const group of form.querySelectorAll("[data-fields]")) {
    group.classList.toggle("expert", !group.querySelector("[data-item], .field:not(.expert)"));
  }
}

/**
 * @param {HTMLElement} field
 * @returns {string[]} the values that its controls send, without the text of a written location
 */
function valuesIn(field) {
  const controls = /** @type {Control[]} */ ([
    ...field.querySelectorAll(`:is(${CONTROLS}):not([data-location-rest])`),
  ]);
  return controls
    .filter(
      (control) =>
        !(control instanceof HTMLInputElement && control.type === "checkbox" && !control.checked),
    )
    .map((control) => control.value);
}

/**
 * Shows the text field for a location that is not in the list, if its option asks for one.
 * @param {HTMLSelectElement} select
 */
function applyLocation(select) {
  const input = /** @type {HTMLInputElement | null} */ (
    select.parentElement?.querySelector("[data-location-rest]") ?? null
  );
  if (!input) return;
  const example = select.selectedOptions[0]?.dataset.open;
  input.hidden = example === undefined;
  input.disabled = select.disabled || example === undefined;
  input.placeholder = example ?? "";
}

/**
 * Fills in the columns and the verifier of the chosen data set.
 * @param {HTMLElement} form
 * @param {HTMLSelectElement} select
 */
export function applyMapping(form, select) {
  const mapping = select.selectedOptions[0]?.dataset.mapping;
  if (!mapping) return;
  for (const [key, value] of Object.entries(
    /** @type {Record<string, string>} */ (JSON.parse(mapping)),
  )) {
    const name = key.replace("{role}", select.name.replace(/\.path$/, ""));
    for (const control of /** @type {NodeListOf<Control>} */ (
      form.querySelectorAll(`[name="${CSS.escape(name)}"]`)
    ))
      setValue(control, value);
  }
  applyConditions(form);
}

/** @param {Control} control @param {string} value */
function setValue(control, value) {
  if (control instanceof HTMLInputElement && control.type === "checkbox")
    control.checked = value === control.value;
  else if (!(control instanceof HTMLInputElement && control.type === "hidden"))
    control.value = value;
}

/** @param {HTMLElement} element @param {boolean} isShown */
function show(element, isShown) {
  element.hidden = !isShown;
  for (const control of /** @type {NodeListOf<Control>} */ (element.querySelectorAll(CONTROLS)))
    control.disabled = !isShown;
}
