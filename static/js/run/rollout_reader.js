/**
 * The reader of a rollout: the figures of the token under the pointer or the keyboard's focus. A token and its counterpart on the other side
 * are marked together; arrows walk, Home and End jump.
 */

const FIELDS = [
  ["text", "token"],
  ["divergence", "divergence, nats"],
  ["entropy", "entropy of the student"],
  ["student", "log p, student"],
  ["teacher", "log p, teacher"],
  ["studentTop", "student's likeliest"],
  ["teacherTop", "teacher's likeliest"],
  ["trained", "trained on, weight"],
  ["advantage", "advantage"],
];

const detail = document.querySelector("[data-token-detail]");
const sides = [...document.querySelectorAll(".reader [data-tokens]")];

/** @param {HTMLElement} token */
function show(token) {
  document.querySelectorAll(".tok.is-here").forEach((other) => other.classList.remove("is-here"));
  const together = sides.includes(/** @type {HTMLElement} */ (token.parentElement)) ? sides : [token.parentElement];
  for (const side of together) side?.querySelector(`[data-i="${token.dataset.i}"]`)?.classList.add("is-here");
  const list = document.createElement("dl");
  for (const [name, label] of FIELDS) {
    const value = token.dataset[name];
    if (!value || value === "–") continue;
    const group = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = label;
    text.textContent = value.trim() !== value ? JSON.stringify(value) : value;
    text.className = "mono";
    group.append(term, text);
    list.append(group);
  }
  detail?.replaceChildren(list);
}

/** @param {KeyboardEvent} event */
function walk(event) {
  const token = /** @type {HTMLElement} */ (event.target);
  const all = /** @type {HTMLElement[]} */ ([...(token.parentElement?.querySelectorAll(".tok") ?? [])]);
  const at = all.indexOf(token);
  const target = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
  const next = target === undefined ? undefined : all[target];
  if (!next) return;
  event.preventDefault();
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
  side.addEventListener("keydown", (event) => walk(/** @type {KeyboardEvent} */ (event)));
}
