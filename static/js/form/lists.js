/**
 * Lists of sections, such as the stages: add, remove, move. The number in the names of an item's
 * fields is its index in the list, so all items are renumbered after each change.
 */

/** Attributes that contain an item's number. */
const NUMBERED = [
  "name",
  "id",
  "for",
  "aria-describedby",
  "aria-labelledby",
  "aria-label",
  "data-when",
  "data-field",
  "data-problem-of",
  "data-warning-of",
];

/** @param {HTMLElement} form @param {() => void} onChange called after a list has changed */
export function manageLists(form, onChange) {
  for (const list of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll("[data-list]")))
    manage(list, onChange);
}

/** @param {HTMLElement} list @param {() => void} onChange */
function manage(list, onChange) {
  const items = /** @type {HTMLOListElement} */ (list.querySelector("[data-items]"));
  const template = /** @type {HTMLTemplateElement} */ (list.querySelector("template"));
  const status = /** @type {HTMLElement} */ (list.querySelector("[data-list-status]"));
  const add = /** @type {HTMLElement} */ (list.querySelector("[data-add]"));
  const path = list.dataset.list ?? "";
  const word = list.dataset.word ?? "";
  const title = word[0].toUpperCase() + word.slice(1);

  /** @param {string} message @param {HTMLElement | null} focus */
  const announceChange = (message, focus) => {
    renumber(items, path, word);
    status.textContent = message;
    focus?.focus();
    onChange();
  };

  add.addEventListener("click", () => {
    const item = /** @type {HTMLElement} */ (
      /** @type {DocumentFragment} */ (template.content.cloneNode(true)).firstElementChild
    );
    items.append(item);
    announceChange(`${title} ${items.children.length} added.`, null);
    const name = /** @type {HTMLInputElement | null} */ (
      item.querySelector('input[name$=".name"]')
    );
    if (name) name.value = freeName(items, word);
    const firstInput =
      name ?? /** @type {HTMLInputElement | null} */ (item.querySelector('input[type="text"]'));
    firstInput?.focus();
    firstInput?.select();
  });

  items.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("button");
    const item = /** @type {HTMLElement | null} */ (button?.closest("[data-item]") ?? null);
    if (!button || !item) return;
    if (button.dataset.move === "up" && item.previousElementSibling)
      item.previousElementSibling.before(item);
    else if (button.dataset.move === "down" && item.nextElementSibling)
      item.nextElementSibling.after(item);
    else if (button.hasAttribute("data-remove")) return remove(item);
    else return;
    announceChange(
      `Now ${word} ${[...items.children].indexOf(item) + 1} of ${items.children.length}.`,
      button,
    );
  });

  /** @param {HTMLElement} item */
  function remove(item) {
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    announceChange(
      `${title} removed, ${items.children.length} left.`,
      /** @type {HTMLElement | null} */ (neighbour?.querySelector("[data-remove]") ?? add),
    );
  }
}

/**
 * @param {HTMLElement} items
 * @param {string} path of the list
 * @param {string} word what an item is called
 */
export function renumber(items, path, word) {
  for (const [index, item] of [...items.children].entries()) {
    for (const element of [item, ...item.querySelectorAll("*")]) {
      for (const attribute of NUMBERED) {
        const value = element.getAttribute(attribute);
        if (value) element.setAttribute(attribute, numbered(value, path, word, index));
      }
    }
    const number = item.querySelector("[data-item-number]");
    if (number) number.textContent = String(index + 1);
  }
}

/**
 * @param {string} text
 * @param {string} path
 * @param {string} word
 * @param {number} index
 * @returns {string} the text with the number of its item replaced
 */
function numbered(text, path, word, index) {
  const dashed = path.replaceAll(".", "-");
  return text
    .replace(new RegExp(`${path.replaceAll(".", "\\.")}\\.\\d+`, "g"), `${path}.${index}`)
    .replace(new RegExp(`${dashed}-\\d+`, "g"), `${dashed}-${index}`)
    .replace(new RegExp(`(${word} )\\d+`, "gi"), `$1${index + 1}`);
}

/** @param {HTMLElement} items @param {string} word @returns {string} a name that no item has */
function freeName(items, word) {
  const taken = new Set(
    [...items.querySelectorAll('input[name$=".name"]')].map(
      (input) => /** @type {HTMLInputElement} */ (input).value,
    ),
  );
  for (let number = items.children.length; ; number += 1)
    if (!taken.has(`${word}-${number}`)) return `${word}-${number}`;
}
