// Small comforts for menus; every one of them also works without this file.
"use strict";

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest("details.menu[open]") ?? document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// <button data-copy="#id"> copies that element's text and says so. The button is hidden until here, where it can work.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const label = button.querySelector("[data-copy-label]") ?? button;
    const before = label.textContent;
    try {
      await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
      label.textContent = "Copied";
    } catch {
      label.textContent = "Could not copy";
    }
    setTimeout(() => { label.textContent = before; }, 2000);
  });
}
