// A dry run answers exactly the options it was made with: any edit takes Start away again. The server checks
// the same; this only says so at once.
"use strict";

(() => {
  const form = document.getElementById("nx-deploy");
  const start = document.getElementById("nx-start");
  const missing = document.getElementById("nx-missing");
  const dryRun = form.elements.namedItem("dry_run_id");

  form.addEventListener("input", () => {
    if (!dryRun || start.hasAttribute("aria-disabled")) return;
    start.setAttribute("aria-disabled", "true");
    missing.textContent = "The dry run is for older options; make a new one.";
  });
  start.addEventListener("click", (event) => {
    if (start.getAttribute("aria-disabled") !== "true") return;
    event.preventDefault();
    missing.focus();
  });
})();
