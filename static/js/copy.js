/** Buttons that copy the text of the element they name: data-copy="#id". */

document.querySelectorAll("[data-copy]").forEach((button) => {
  button.addEventListener("click", async () => {
    const source = document.querySelector(button.getAttribute("data-copy") ?? "");
    const label = button.textContent;
    await navigator.clipboard.writeText(/** @type {HTMLInputElement | null} */ (source)?.value ?? source?.textContent ?? "");
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 2000);
  });
});
