/**
 * The choices of a comparison that scripts change: they are in the address, in the forms and links
 * of the page, and a saved comparison is marked as changed while they differ from it.
 */

import { pageData } from "../page.js";

/**
 * @typedef {{query: string, usual: Record<string, string>, saved: Record<string, string> | null,
 *   differs: boolean}} ShownChoices
 * `query` are all choices of the page as it came. `usual` counts where none is made, `saved` are
 * those of the saved comparison. `differs`: other choices than these differ from it.
 */

const shown = /** @type {ShownChoices} */ (pageData("shown-choices"));

/** @param {string} name @param {string} value empty for none */
export function choose(name, value) {
  const address = withChoice(withAll(new URL(location.href)), name, value);
  history.replaceState(null, "", address);
  for (const form of document.querySelectorAll("form[data-choices]")) setField(form, name, value);
  for (const link of document.querySelectorAll("main a[href*='?']")) {
    const url = new URL(/** @type {HTMLAnchorElement} */ (link).href);
    if (url.pathname !== location.pathname) continue;
    link.setAttribute("href", `${withChoice(url, name, value)}`);
  }
  markChanges(address);
}

/**
 * The address with another choice, to load the page with it.
 * @param {string} name
 * @param {string} value
 */
export function addressWith(name, value) {
  return withChoice(withAll(new URL(location.href)), name, value);
}

/** A saved comparison without choices in its address shows those that were saved. @param {URL} url */
function withAll(url) {
  if (!url.search) url.search = `?chosen=1&${shown.query}`;
  return url;
}

/** @param {URL} url @param {string} name @param {string} value */
function withChoice(url, name, value) {
  if (value) url.searchParams.set(name, value);
  else url.searchParams.delete(name);
  return url;
}

/** @param {Element} form @param {string} name @param {string} value */
function setField(form, name, value) {
  let field = /** @type {HTMLInputElement | null} */ (form.querySelector(`[name="${name}"]`));
  if (!field) {
    field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    form.append(field);
  }
  field.value = value;
}

/** @param {URL} address */
function markChanges({ searchParams }) {
  const { saved, usual, differs } = shown;
  if (!saved) return;
  const isChanged =
    differs ||
    Object.keys(saved).some((name) => (searchParams.get(name) || usual[name]) !== saved[name]);
  for (const element of document.querySelectorAll("[data-when-changed]"))
    element.toggleAttribute("hidden", !isChanged);
  for (const element of document.querySelectorAll("[data-unless-changed]"))
    element.toggleAttribute("hidden", isChanged);
}
