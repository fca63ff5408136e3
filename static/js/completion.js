/**
 * Completes names and values of the filter language in a text field: a combobox with a list box
 * (WAI-ARIA Authoring Practices, editable combobox with list autocomplete).
 *
 * The field names the address of the names in `data-completions`. With `data-completes="key"` the
 * whole field is one name of a figure or setting. Without this script the field is typed in full.
 */

const MOST_OPTIONS = 12;
/** Name, sign and beginning of the value of the term before the caret. */
const TERM = /^((-?)((?:"[^"]*"|[^\s":=<>!])+)\s*(?:!=|<=|>=|[:=<>])\s*)("?)(.*)$/;

/**
 * @typedef {{start: number, end: number, name: string | null, typed: string, before: string}} Place
 *   what is completed: characters from `start` to `end`, of a value of `name` or of a name;
 *   `before` is what stays in front of a completed name
 * @typedef {{text: string, label: string, help: string}} Option
 */

/**
 * @param {string} text the field up to the caret
 * @returns {Place}
 */
export function placeIn(text) {
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\" && isQuoted) i++;
    else if (text[i] === '"') isQuoted = !isQuoted;
    else if (/\s/.test(text[i]) && !isQuoted && !isBesideSign(text, i)) start = i + 1;
  }
  const token = text.slice(start);
  const term = TERM.exec(token);
  if (term) {
    const [, beforeValue, , name, , typed] = term;
    const valueStart = start + beforeValue.length;
    return { start: valueStart, end: text.length, name: unquoted(name), typed, before: "" };
  }
  const minus = token.startsWith("-") ? "-" : "";
  const typed = token.slice(minus.length).replace(/^"/, "");
  return { start, end: text.length, name: null, typed, before: minus };
}

/** @param {string} text @param {number} space @returns {boolean} whether it belongs to a condition */
function isBesideSign(text, space) {
  return /[:=<>]\s*$/.test(text.slice(0, space)) || /^\s+[:=<>!]/.test(text.slice(space));
}

/** @param {string} text @returns {string} */
function unquoted(text) {
  return text.startsWith('"') ? text.slice(1, -1) : text;
}

/** @param {string} text @returns {string} as the language reads it, in quotation marks if needed */
export function writtenText(text) {
  return /^[^\s":=<>!-][^\s":=<>!]*$/.test(text)
    ? text
    : `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/**
 * @param {string[]} names
 * @param {string} typed
 * @returns {string[]} names with what was typed, those that begin with it first
 */
export function matches(names, typed) {
  const part = typed.toLowerCase();
  const rank = (/** @type {string} */ name) => name.toLowerCase().indexOf(part);
  return names
    .filter((name) => rank(name) >= 0)
    .sort((a, b) => Math.min(1, rank(a)) - Math.min(1, rank(b)))
    .slice(0, MOST_OPTIONS);
}

/** @type {Map<string, Promise<any>>} answers by address */
const answers = new Map();

/** @param {string} address @returns {Promise<any>} the answer, or an empty one while there is none */
function ask(address) {
  const answer =
    answers.get(address) ??
    fetch(address, { headers: { Accept: "application/json" } })
      .then((response) => (response.ok ? response.json() : {}))
      .catch(() => ({}));
  answers.set(address, answer);
  return answer;
}

/** @param {HTMLInputElement} input */
function complete(input) {
  const address = input.dataset.completions ?? "";
  const isKey = input.dataset.completes === "key";
  const list = document.createElement("ul");
  list.id = `${input.id}-options`;
  list.className = "options";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  list.hidden = true;
  input.after(list);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-expanded", "false");
  /** @type {Place} */
  let place = placeIn("");
  /** @type {Option[]} */
  let options = [];
  let active = -1;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** @param {number} index */
  function activate(index) {
    active = index;
    [...list.children].forEach((item, i) => {
      item.setAttribute("aria-selected", String(i === active));
      if (i === active) item.scrollIntoView({ block: "nearest" });
    });
    input.setAttribute("aria-activedescendant", `${list.id}-${active}`);
  }

  function show() {
    active = -1;
    input.removeAttribute("aria-activedescendant");
    list.replaceChildren(
      ...options.map(({ label, help }, index) => {
        const item = document.createElement("li");
        item.id = `${list.id}-${index}`;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        item.append(label);
        if (help) {
          const small = document.createElement("span");
          small.className = "muted small";
          small.textContent = ` ${help}`;
          item.append(small);
        }
        // The field keeps the focus.
        item.addEventListener("pointerdown", (event) => event.preventDefault());
        item.addEventListener("click", () => accept(index));
        return item;
      }),
    );
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(options.length > 0));
  }

  /** @param {number} index */
  function accept(index) {
    const { text } = options[index];
    const { start, end, before } = place;
    const value = input.value.slice(0, start) + before + text;
    input.value = value + input.value.slice(end);
    input.setSelectionRange(value.length, value.length);
    close();
    input.focus();
    // A completed name is followed by its values.
    if (!isKey && /[:=]$/.test(text)) void refresh();
  }

  /** @returns {Promise<Option[]>} */
  async function optionsAt() {
    if (!isKey && place.name !== null) {
      const { values = [] } = await ask(`${address}?name=${encodeURIComponent(place.name)}`);
      return matches(values, place.typed).map((value) => ({
        text: `${writtenText(value)} `,
        label: value,
        help: "",
      }));
    }
    const { fields = {}, keys = [] } = await ask(address);
    if (isKey)
      return matches(keys, place.typed).map((key) => ({ text: key, label: key, help: "" }));
    if (!place.typed) return [];
    return matches([...Object.keys(fields), ...keys], place.typed).map((name) => ({
      text: name in fields ? `${name}${name === "created" ? ">" : ":"}` : writtenText(name),
      label: name,
      help: fields[name] ?? "",
    }));
  }

  async function refresh() {
    const caret = input.selectionStart ?? input.value.length;
    const text = input.value.slice(0, caret);
    place = isKey
      ? { start: 0, end: input.value.length, name: null, typed: input.value.trim(), before: "" }
      : placeIn(text);
    const asked = place;
    const answer = await optionsAt();
    // What was typed meanwhile has its own answer.
    if (asked !== place || document.activeElement !== input) return;
    options = answer;
    show();
  }

  input.addEventListener("input", () => void refresh());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && list.hidden) void refresh();
    else if (event.key === "Escape") {
      // Also while an answer is awaited. A browser would empty a search field.
      place = placeIn("");
      close();
    } else if (list.hidden) return;
    else if (event.key === "ArrowDown") activate((active + 1) % options.length);
    else if (event.key === "ArrowUp") activate((Math.max(active, 0) || options.length) - 1);
    else if ((event.key === "Enter" || event.key === "Tab") && active >= 0) accept(active);
    else return;
    event.preventDefault();
  });
}

/** Add completion to every field with `data-completions`. */
export function completeFields() {
  document
    .querySelectorAll("input[data-completions]")
    .forEach((input) => complete(/** @type {HTMLInputElement} */ (input)));
}
