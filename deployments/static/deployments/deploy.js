// The form of a deployment, as a page and in the dialog. The server decides everything; this keeps what is shown
// true while somebody types: an edit takes Start away until the dry run of exactly these options is there.
"use strict";

(() => {
  const EVERY = 5000;
  let edits = 0;
  let asked = 0;
  let ticks = 0;
  let ticksListed = 0;
  let checkedAt = 0;

  const part = (id) => document.getElementById(id);
  const form = () => part("nx-deploy");
  const isForm = (element) => element.id === "nx-deploy";
  const isPreset = (element) => element.name === "preset";

  // While a start or a preset is on its way nothing may be edited: the answer would not be of it, or undo it.
  function hold(inert) {
    form().inert = inert;
  }

  function unavailable(why) {
    part("nx-start")?.setAttribute("aria-disabled", "true");
    if (part("nx-start")) part("nx-missing").textContent = why;
    part("nx-answer").classList.add("nx-old");
  }

  function edit(event) {
    if (!event.target.closest?.("#nx-deploy")) return;
    edits += 1;
    if (event.target.name === "pick") ticks += 1;
    unavailable("Checking these options…");
  }

  function say(text) {
    if (part("nx-said").textContent !== text) part("nx-said").textContent = text;
  }

  // What the server found wrong, at the inputs themselves and in sight.
  function mark() {
    for (const box of document.querySelectorAll("#nx-deploy .nx-wrongs")) {
      const wrong = box.childElementCount > 0;
      for (const input of document.getElementsByName(box.dataset.for)) {
        input.toggleAttribute("aria-invalid", wrong);
        if (wrong) input.setAttribute("aria-invalid", "true");
      }
      if (wrong && box.closest("details")) box.closest("details").open = true;
    }
  }

  function showWhatIsMissing() {
    const summary = part("nx-summary");
    summary.hidden = summary.childElementCount === 0;
    (summary.hidden ? part("nx-missing") : summary).focus();
  }

  function answered() {
    checkedAt = Date.now();
    mark();
    age();
    say(part("nx-missing").textContent.trim());
    if (part("nx-answer").dataset.pressed !== undefined && !part("nx-summary").hidden) part("nx-summary").focus();
  }

  function age() {
    const shown = part("nx-age");
    if (!shown) return;
    const seconds = Math.round((Date.now() - checkedAt) / 1000);
    shown.textContent = seconds < 60 ? `, ${seconds} s ago` : `, ${Math.floor(seconds / 60)} min ago`;
    if (seconds >= Number(shown.dataset.fresh)) unavailable("The dry run is older than 10 minutes; make it again.");
  }

  function failed(why) {
    unavailable(`Could not check devices (${why}). Nothing was started.`);
    const again = document.createElement("button");
    again.type = "submit";
    again.name = "act";
    again.value = "dry_run";
    again.className = "nx-button";
    again.textContent = "Try again";
    const text = document.createElement("p");
    text.textContent = `Could not check devices (${why}). Nothing was started.`;
    part("nx-answer").replaceChildren(text, again);
    say(text.textContent);
  }

  function signedOut() {
    failed("signed out");
    const link = document.createElement("a");
    link.href = `${form().dataset.login}?next=${encodeURIComponent(location.pathname)}`;
    link.textContent = "Sign in";
    part("nx-answer").replaceChildren(link);
  }

  // The buttons beside the list: the form says who is meant, the list is drawn anew.
  function choose(mode) {
    const { elements } = form();
    elements.list_mode.value = "";
    elements.exclude_ids.value = "";
    if (mode === "ticked") elements.device_ids.value = "";
    elements.target_type.value = mode;
    htmx.trigger(form(), "nx:edited");
    htmx.trigger(part("nx-picker"), "nx:list");
  }

  function clearFilters() {
    for (const input of part("nx-filters").querySelectorAll("input, select")) {
      if (input.type === "checkbox") input.checked = false;
      else input.value = "";
    }
    part("nx-filters").dispatchEvent(new Event("input", { bubbles: true }));
  }

  async function open(link) {
    await htmx.ajax("GET", link.href, { source: link, target: "#nx-who", swap: "innerHTML" });
    part("nx-who-title")?.focus();
  }

  // On their way down: an edit is counted before htmx, at the form, asks about it.
  document.addEventListener("input", edit, true);
  document.addEventListener("nx:edited", edit, true);
  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest(selector);
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (hit("#nx-start[aria-disabled]")) {
      event.preventDefault();
      showWhatIsMissing();
    } else if (hit("[data-choose]")) {
      event.preventDefault();
      choose(hit("[data-choose]").dataset.choose);
    } else if (hit("[data-clear-filters]")) {
      clearFilters();
    } else if (hit("#nx-answer a[data-part]") && !modified) {
      event.preventDefault();
      open(hit("a[data-part]"));
    } else if (hit("#nx-summary a[data-to]")) {
      event.preventDefault();
      const [input] = document.getElementsByName(hit("a[data-to]").dataset.to);
      input?.focus();
    }
  });

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.target.closest?.("#nx-picker")) ticksListed = ticks;
    if (isPreset(event.target)) hold(true);
    if (!isForm(event.target)) return;
    const { parameters, triggeringEvent } = event.detail;
    // A button that was pressed before and still has the focus is no part of a check.
    if (triggeringEvent?.type !== "submit") {
      parameters.act = "check";
      delete parameters.preset;
      delete parameters.page;
    }
    asked = edits;
    hold(parameters.act === "start");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!isForm(event.target) && !isPreset(event.target)) return;
    hold(false);
    if (isPreset(event.target)) part(event.target.id)?.focus();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { elt } = event.detail.requestConfig;
    if (!elt.closest?.("#nx-deploy")) return;
    const wanted = new URL(event.detail.pathInfo.requestPath, location.href).pathname;
    if (new URL(event.detail.xhr.responseURL).pathname !== wanted) {
      event.detail.shouldSwap = false;
      signedOut();
    } else if (isForm(elt) && edits !== asked) {
      event.detail.shouldSwap = false; // of older options; the next check is on its way
    } else if (elt.closest("#nx-picker") && ticks !== ticksListed) {
      event.detail.shouldSwap = false; // a box was ticked meanwhile, and must not be lost
      if (elt.id === "nx-picker") htmx.trigger(elt, "nx:list");
      else elt.click();
    }
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    const { elt } = event.detail.requestConfig ?? {};
    if (!form() || !elt) return;
    if (isForm(elt)) answered();
    else if (isPreset(elt)) htmx.trigger(form(), "nx:edited");
  });
  for (const [kind, why] of [
    ["htmx:sendError", "no connection"],
    ["htmx:timeout", "timeout"],
    ["htmx:responseError", "the server refused"],
  ]) {
    document.addEventListener(kind, (event) => {
      if (isForm(event.target)) failed(why);
    });
  }
  document.addEventListener("htmx:load", (event) => {
    const added = event.detail.elt;
    const found = added.id === "nx-deploy" ? added : added.querySelector?.("#nx-deploy");
    if (!found?.hasAttribute("data-untouched")) return;
    found.removeAttribute("data-untouched");
    found.elements.window_tz.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  });
  setInterval(age, EVERY);
})();
