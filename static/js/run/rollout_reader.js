/**
 * The reader of a rollout: shows the values of the token under the pointer or the keyboard focus.
 *
 * A token and its counterpart on the other side are highlighted together. Arrow keys move to the
 * next token; Home and End to the first and last.
 */

/** data-attribute of a token → label */
const FIELDS = [
  ["text", "token"],
  ["divergence", "divergence, nats"],
  ["entropy", "entropy of the student"],
  ["student", "log p, student"],
  ["teacher", "log p, teacher"],
  ["studentTop", "student's most likely"],
  ["teacherTop", "teacher's most likely"],
  ["trained", "trained on, weight"],
  ["advantage", "advantage"],
];

const detail = document.querySelector("[data-token-detail]");
const sides = [...document.querySelectorAll(".reader [data-tokens]")];

/** @param {HTMLElement} token */
function show(token) {
  document
    .querySelectorAll(".tok.is-here")
    .forEach((element) => element.classList.remove("is-here"));
  // The teacher's own answer below the two sides has other tokens: none of them corresponds.
  const linkedSides = sides.includes(/** @type {HTMLElement} */ (token.parentElement))
    ? sides
    : [token.parentElement];
  for (const side of linkedSides)
    side?.querySelector(`[data-i="${token.dataset.i}"]`)?.classList.add("is-here");
  const list = document.createElement("dl");
  for (const [name, label] of FIELDS) {
    const value = token.dataset[name];
    if (!value || value === "–") continue;
    const group = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = label;
    // Quotes make spaces and line breaks at the ends of a token visible.
    text.textContent = value.trim() !== value ? JSON.stringify(value) : value;
    text.className = "mono";
    group.append(term, text);
    list.append(group);
  }
  detail?.replaceChildren(list);
}

/** @param {KeyboardEvent} event */
function moveFocus(event) {
  const token = /** @type {HTMLElement} */ (event.target);
  const tokens = /** @type {HTMLElement[]} */ ([
    ...(token.parentElement?.querySelectorAll(".tok") ?? []),
  ]);
  const index = tokens.indexOf(token);
  const target = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tokens.length - 1 }[
    event.key
  ];
  const next = target === undefined ? undefined : tokens[target];
  if (!next) return;
  event.preventDefault();
  // One token of the group is in the tab order, so that Tab leaves the text at once.
  token.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

for (const side of document.querySelectorAll("[data-tokens]")) {
  side.addEventListener("focusin", (event) => show(/** @type {HTMLElement} */ (event.target)));
  side.addEventListener("mouseover", (event) => {
    const token = /** @type {HTMLElement} */ (event.target).closest(".tok");
    if (token) show(/** @type {HTMLElement} */ (token));
  });
  side.addEventListener("keydown", (event) => moveFocus(/** @type {KeyboardEvent} */ (event)));
}
