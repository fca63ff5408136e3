/** Copies the text of the element that a button names in `data-copy`, and says so on the button. @param {HTMLElement} button */
export async function copyText(button) {
  const text = document.querySelector(button.dataset.copy ?? "")?.textContent ?? "";
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy refused by the browser";
  }
  setTimeout(() => (button.textContent = label), 2000);
}
