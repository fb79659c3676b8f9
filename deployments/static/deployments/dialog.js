// Opens links marked data-dialog in the page's one dialog, asks before edits are thrown away, and leaves every
// other way of opening a link (middle click, Ctrl, no script) to the browser.
"use strict";

(() => {
  const dialog = document.getElementById("nx-dialog");
  const question = document.getElementById("nx-discard");
  let edited = false;

  // Emptied here and not when it closes: an answer that comes later still finds its place.
  async function open(link) {
    dialog.replaceChildren();
    edited = false;
    link.setAttribute("aria-busy", "true");
    try {
      await htmx.ajax("GET", link.href, { source: dialog, target: dialog, swap: "innerHTML" });
    } catch {
      // Nothing was put into it, so the page is asked for below.
    }
    link.removeAttribute("aria-busy");
    if (!dialog.firstElementChild) {
      location.assign(link.href);
      return;
    }
    dialog.showModal();
  }

  function close() {
    if (edited) question.showModal();
    else dialog.close();
  }

  // As the browser does it outside of a dialog.
  function clear(search) {
    search.value = "";
    search.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    const plain = !(event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!link || !plain) return;
    event.preventDefault();
    open(link);
  });
  // A page that the server sent instead, such as the login, belongs into the window.
  dialog.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target !== dialog) return;
    const asked = new URL(event.detail.pathInfo.requestPath, location.href).pathname;
    if (new URL(event.detail.xhr.responseURL).pathname !== asked) event.detail.shouldSwap = false;
  });
  for (const kind of ["input", "nx:edited"]) {
    dialog.addEventListener(kind, () => (edited = true));
  }
  // The key as well as the request to close: browsers let a page refuse the latter only once.
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    if (event.target.type === "search" && event.target.value) clear(event.target);
    else close();
  });
  dialog.addEventListener("cancel", (event) => {
    if (event.target !== dialog) return;
    event.preventDefault();
    close();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) close();
  });
  question.querySelector("[data-keep]").addEventListener("click", () => question.close());
  question.querySelector("[data-discard]").addEventListener("click", () => {
    question.close();
    edited = false;
    dialog.close();
  });
})();
