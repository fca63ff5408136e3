/**
 * Values of the form's fields, and which fields matter for the choices made.
 */

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

const CONTROLS = "input, select, textarea";

/**
 * @param {ParentNode} form
 * @param {string} name
 * @returns {string | undefined} value of the enabled control of that name
 */
export function valueOf(form, name) {
  const control = /** @type {Control | null} */ (
    form.querySelector(`[name="${CSS.escape(name)}"]:not(:disabled)`)
  );
  return control?.value;
}

/** @param {ParentNode} form @param {string} name @returns {number} NaN if it is no number */
export function numberOf(form, name) {
  const text = valueOf(form, name)?.trim();
  return text ? Number(text) : NaN;
}

/**
 * Shows what matters for the choices made; the rest is hidden and not sent.
 * @param {HTMLElement} form
 */
export function applyConditions(form) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (
    form.querySelectorAll("[data-when]")
  )) {
    const wanted = Object.entries(
      /** @type {Record<string, string[]>} */ (JSON.parse(element.dataset.when ?? "{}")),
    );
    show(
      element,
      wanted.every(([name, values]) => values.includes(valueOf(form, name) ?? "")),
    );
  }
  for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (
    form.querySelectorAll("select[data-location]")
  ))
    applyLocation(select);
}

/**
 * Marks what only the expert mode shows: settings at their default, and groups of nothing else.
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
 * @returns {string[]} what would be sent for it, without the second half of a location
 */
function valuesIn(field) {
  const controls = /** @type {Control[]} */ ([
    ...field.querySelectorAll(`:is(${CONTROLS}):not([data-location-rest])`),
  ]);
  return controls
    .filter((one) => !(one instanceof HTMLInputElement && one.type === "checkbox" && !one.checked))
    .map((one) => one.value);
}

/**
 * A location that the list does not hold is written beside it.
 * @param {HTMLSelectElement} select
 */
function applyLocation(select) {
  const rest = /** @type {HTMLInputElement | null} */ (
    select.parentElement?.querySelector("[data-location-rest]") ?? null
  );
  if (!rest) return;
  const open = select.selectedOptions[0]?.dataset.open;
  rest.hidden = open === undefined;
  rest.disabled = select.disabled || open === undefined;
  rest.placeholder = open ?? "";
}

/**
 * A chosen data set brings its columns and its verifier.
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

/** @param {HTMLElement} element @param {boolean} shown */
function show(element, shown) {
  element.hidden = !shown;
  for (const control of /** @type {NodeListOf<Control>} */ (element.querySelectorAll(CONTROLS)))
    control.disabled = !shown;
}
