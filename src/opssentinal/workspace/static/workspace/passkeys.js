// What a page with a passkey button needs beside django-allauth's scripts: without a browser that can, no button is shown;
// what the browser refuses is said on the page instead of in its console.
"use strict";

const canUsePasskeys = window.isSecureContext && window.PublicKeyCredential !== undefined;
for (const part of document.querySelectorAll("[data-passkey]")) part.hidden = !canUsePasskeys;
for (const part of document.querySelectorAll("[data-no-passkey]")) part.hidden = canUsePasskeys;

const REASONS = {
  NotAllowedError: "The browser stopped: it was cancelled, took too long, or no passkey fits.",
  InvalidStateError: "This passkey or security key is set up here already.",
  SecurityError: "Passkeys do not work at this address: they need a host name, and https.",
  NotSupportedError: "This key cannot do what is asked of it.",
};

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const place = document.querySelector("[data-passkey-error]");
  const error = event.detail.exception;
  place.querySelector("[data-text]").textContent = REASONS[error.name] ?? `It did not work: ${error.message}`;
  place.hidden = false;
});
