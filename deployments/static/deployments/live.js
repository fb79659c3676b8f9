// Keeps the numbers of a deployment fresh: every two seconds while the page is visible, never while it is
// hidden, not at all once the deployment has ended. Slower when nobody has touched the page for a minute or
// the server does not answer.
"use strict";

(() => {
  const watch = document.getElementById("nx-watch");
  const said = document.getElementById("nx-said");
  const EVERY = 2000;
  const IDLE_EVERY = 10000;
  const IDLE_AFTER = 60000;
  const SLOWEST = 30000;
  let touched = Date.now();
  let missed = 0;
  let busy = false;
  let stopped = false;
  let timer = 0;

  const part = (id) => document.getElementById(id);
  const terminal = () => part("nx-live").hasAttribute("data-terminal");

  function schedule(now) {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    const pace = Date.now() - touched > IDLE_AFTER ? IDLE_EVERY : EVERY;
    const wait = Math.min(pace * 2 ** missed, SLOWEST) * (0.9 + Math.random() * 0.2);
    timer = setTimeout(tick, now ? 0 : wait);
  }

  async function load(target, address) {
    await htmx.ajax("GET", address, { source: target, target, swap: "morph:outerHTML" });
  }

  async function tick() {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const seen = part("nx-live").dataset.version;
      await load(part("nx-live"), `${watch.dataset.live}?version=${seen}`);
      if (part("nx-live").dataset.version !== seen) {
        await load(part("nx-rows"), watch.dataset.devices);
        await load(part("nx-events"), watch.dataset.timeline);
      }
      if (terminal()) stopped = true;
    } catch {
      // Counted by the listeners below.
    }
    busy = false;
    schedule(false);
  }

  function say(text) {
    said.replaceChildren(text);
  }

  function signedOut() {
    stopped = true;
    const link = document.createElement("a");
    link.href = `${watch.dataset.login}?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = "Sign in";
    say("Signed out; the numbers are no longer fresh. ");
    said.append(link);
  }

  function failed() {
    missed += 1;
    if (missed >= 3) say("Connection lost, trying again. The numbers are no longer fresh.");
  }

  // A redirect to a login page must never end up in the middle of this one.
  watch.addEventListener("htmx:beforeSwap", (event) => {
    const asked = new URL(event.detail.pathInfo.requestPath, location.href).pathname;
    if (new URL(event.detail.xhr.responseURL).pathname !== asked) {
      event.detail.shouldSwap = false;
      signedOut();
    }
  });
  watch.addEventListener("htmx:responseError", (event) => {
    if ([401, 403].includes(event.detail.xhr.status)) signedOut();
    else failed();
  });
  watch.addEventListener("htmx:sendError", failed);
  watch.addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful || stopped) return;
    missed = 0;
    say("");
  });

  for (const kind of ["pointermove", "keydown", "scroll"]) {
    addEventListener(kind, () => (touched = Date.now()), { passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    touched = Date.now();
    schedule(true);
  });
  if (!terminal()) schedule(false);
  else stopped = true;
})();
