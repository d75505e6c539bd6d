// Comforts of Audit Logs: a click anywhere on a row opens its event, and "Load more" keeps the keyboard's place.
"use strict";

document.documentElement.classList.add("js");

document.addEventListener("click", (event) => {
  const row = event.target.closest(".log-table tbody tr");
  const link = row?.querySelector("a.sentence");
  if (!link || event.target.closest("a, button") || String(getSelection())) return;
  if (event.ctrlKey || event.metaKey) window.open(link.href, "_blank", "noopener");
  else link.click();
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.requestConfig?.elt?.closest?.("#more") || event.detail.target?.id === "more") {
    const bodies = document.querySelectorAll(".log-table tbody:not(.more)");
    bodies[bodies.length - 1]?.querySelector("a.sentence")?.focus();
  }
});

// "/" goes to the query bar, as in other tools; never while typing.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const bar = document.getElementById("q");
  if (bar) {
    event.preventDefault();
    bar.focus();
    bar.select();
  }
});
