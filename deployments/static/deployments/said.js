// What is said to people, screen readers included: little, and never twice in half a minute unless they asked.
import { byId } from "./parts.js";

const QUIET = 30000;
let last = -QUIET;
const SHOWN = 10000;
let waiting = 0;
let fading = 0;

/** That the page is no longer fresh, or that an act failed: at once, and it stays. */
export function say(text, ...more) {
  put(false, text, ...more);
}

/** What has become of what the person did: at once, for a while; the page shows the rest. */
export function tell(text) {
  put(false, text);
  fading = setTimeout(() => put(false), SHOWN);
}

/** What happened by itself: at most once in half a minute, the latest wins. Only heard: the page shows it, and goes
 * on to show what comes after it. */
export function mention(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    last = performance.now();
    put(true, text);
  }, Math.max(0, last + QUIET - performance.now()));
}

function put(unseen, ...parts) {
  clearTimeout(fading);
  const place = byId("nx-said");
  place.classList.toggle("nx-unseen", unseen);
  place.replaceChildren(...parts);
}
