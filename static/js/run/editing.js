/**
 * Editing a run in place. The forms of the header and of the notes work without this module; it puts
 * the focus where the next key belongs, and closes menus by Escape or a click beside them.
 */

const HEAD = "#run-head";

/** @returns {HTMLDetailsElement | null} */
function openMenu() {
  return document.querySelector(`${HEAD} details.menu[open]`);
}

/** Whether somebody may be typing in the header, so that it must not be replaced. */
export function isMenuOpen() {
  return openMenu() !== null;
}

/**
 * @param {() => void} onMenuClosed
 */
export function startEditing(onMenuClosed) {
  let notesWereOpen = false;

  // The event `toggle` does not bubble.
  document.addEventListener(
    "toggle",
    ({ target }) => {
      if (!(target instanceof HTMLDetailsElement) || !target.closest(HEAD)) return;
      if (target.open)
        /** @type {HTMLInputElement | null} */ (target.querySelector(".field input"))?.select();
      else onMenuClosed();
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    const menu = openMenu();
    if (event.key !== "Escape" || !menu) return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });
  document.addEventListener("click", ({ target }) => {
    const menu = openMenu();
    if (menu && target instanceof Node && !menu.contains(target)) menu.open = false;
  });
  document.body.addEventListener("htmx:beforeSwap", () => {
    notesWereOpen =
      /** @type {HTMLDetailsElement | null} */ (document.querySelector("#notes > details"))?.open ??
      false;
  });
  document.body.addEventListener("htmx:afterSettle", (event) => {
    const { target } = event;
    if (!(target instanceof HTMLElement)) return;
    const { elt: sender } = /** @type {CustomEvent} */ (event).detail.requestConfig;
    if (target.id === "notes") {
      const details = target.querySelector("details");
      if (details && notesWereOpen) details.open = true;
      const field = /** @type {HTMLElement | null} */ (
        target.querySelector("textarea[name=notes]")
      );
      field?.focus({ preventScroll: true });
    }
    // The button that was pressed is gone with its menu.
    if (target.matches(HEAD) && sender instanceof HTMLFormElement) {
      const menu = sender.closest("details")?.querySelector("summary")?.id ?? "add-tag";
      document.getElementById(menu)?.focus();
    }
  });
}
