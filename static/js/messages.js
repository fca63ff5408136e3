/** Messages at the edge of the page are closed by their button, also those that htmx brings. */

document.addEventListener("click", ({ target }) => {
  if (target instanceof Element && target.closest("[data-close-toast]"))
    target.closest(".toast")?.remove();
});
