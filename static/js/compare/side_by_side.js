/**
 * Keys of the page of answers beside each other: j and k for the problem after and before, arrows
 * for the step. Each follows a link of the page, so that everything works without keys too. The
 * links of a column lead to its head, which has the focus then: the key can be pressed repeatedly.
 */

const LINKS = /** @type {Record<string, string>} */ ({
  j: "next-problem",
  k: "previous-problem",
  ArrowLeft: "before",
  ArrowRight: "after",
});

/**
 * @param {Element} target where the key was pressed
 * @param {string} name
 * @returns {HTMLElement | null} the link of the column that has the focus, or else of the page
 */
function linkOf(target, name) {
  const number = /** @type {HTMLElement | null} */ (target.closest("[data-column]"))?.dataset
    .column;
  const selector = `[data-go="${name}"]`;
  const ofColumn = number && document.querySelector(`#column-${number} ${selector}`);
  const ofPage = `${selector}:not([data-column] *)`;
  return /** @type {HTMLElement | null} */ (ofColumn || document.querySelector(ofPage));
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || !(target instanceof Element)) return;
  // Arrows on a token move to the next one (rollout_reader.js).
  if (!Object.hasOwn(LINKS, key) || target.matches("input, select, textarea")) return;
  if (key.startsWith("Arrow") && target.matches(".tok")) return;
  const link = linkOf(target, LINKS[key]);
  if (!link) return;
  event.preventDefault();
  link.click();
});
