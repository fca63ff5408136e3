/**
 * Copies the text, or what is typed, of the element that a button names in `data-copy`, and says so
 * on the button.
 * @param {HTMLElement} button
 */
export async function copyText(button) {
  const source = document.querySelector(button.dataset.copy ?? "");
  const text = source instanceof HTMLInputElement ? source.value : (source?.textContent ?? "");
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy refused by the browser";
  }
  setTimeout(() => (button.textContent = label), 2000);
}
