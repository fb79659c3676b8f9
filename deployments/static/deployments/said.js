// What is said to people, screen readers included: little, and never twice in half a minute unless they asked.
import { byId } from "./parts.js";

const QUIET = 30000;
let last = -QUIET;
let waiting = 0;

/** The outcome of what the person did, or that the page is no longer fresh: at once. */
export function say(text, ...more) {
  byId("nx-said").replaceChildren(text, ...more);
}

/** What happened by itself: at most once in half a minute, the latest wins. */
export function mention(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    last = performance.now();
    say(text);
  }, Math.max(0, last + QUIET - performance.now()));
}
