// Keeps the numbers fresh: every two seconds while the page is visible, never while it is hidden or frozen, not
// at all once the deployment has ended. Slower while the server does not answer.
import { ask, byId, place, SignedOut } from "./parts.js";
import { mention, say, tell } from "./said.js";

const EVERY = 2000;
const SLOWEST = 30000;
const MISSES = 3;
const EQUAL = 5; // so many equal answers, then the rows are looked at again

export class Live {
  /** `onChange` is awaited after the numbers have changed, and at the end. */
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.freshAt = Date.now();
    this.missed = 0;
    this.equal = 0;
    this.busy = false;
    this.frozen = false;
    this.stopped = this.ended;
    this.timer = 0;
  }

  get ended() {
    return byId("nx-live").hasAttribute("data-terminal");
  }

  start() {
    const freeze = byId("nx-freeze");
    freeze.addEventListener("click", () => this.freeze(!this.frozen));
    document.addEventListener("visibilitychange", () => this.schedule(true));
    setInterval(() => this.tellAge(), 1000);
    this.tellAge();
    this.schedule(false);
  }

  schedule(now) {
    clearTimeout(this.timer);
    if (this.stopped || this.frozen || document.hidden) return;
    const wait = Math.min(EVERY * 2 ** this.missed, SLOWEST) * (0.95 + Math.random() * 0.1);
    this.timer = setTimeout(() => this.tick(), now ? 0 : wait);
  }

  async tick() {
    if (this.busy || this.stopped || this.frozen || document.hidden) return;
    this.busy = true;
    try {
      const answer = await ask(`${this.root.dataset.live}?version=${byId("nx-live").dataset.version}`);
      if (answer.status === 403) throw new SignedOut();
      if (answer.status === 204) await this.unchanged();
      else await this.show(await answer.text());
    } catch (error) {
      this.failed(error);
    }
    this.busy = false;
    this.schedule(false);
  }

  /** Equal numbers may hide a device that went from one step to the next. */
  async unchanged() {
    this.heard();
    this.equal = (this.equal + 1) % EQUAL;
    if (!this.equal) await this.onChange();
  }

  /** Puts the moving part in place, then what depends on it. */
  async show(html, said = "") {
    const before = byId("nx-live").querySelector(".nx-badge").textContent.trim();
    place(html);
    this.heard();
    const after = byId("nx-live").querySelector(".nx-badge").textContent.trim();
    if (said) tell(said);
    else if (after !== before) mention(`${after}. ${byId("nx-sentence").textContent}`);
    this.stopped = this.ended;
    await this.onChange();
    place(await (await ask(this.root.dataset.record)).text());
  }

  heard() {
    if (this.missed >= MISSES) say("");
    this.missed = 0;
    this.freshAt = Date.now();
    this.tellAge();
  }

  failed(error) {
    if (error instanceof SignedOut) return this.signedOut();
    this.missed += 1;
    if (this.missed === MISSES) {
      say(`Connection lost, trying again. The numbers are from ${clock(this.freshAt)}.`);
    }
    return this.tellAge();
  }

  signedOut() {
    this.stopped = true;
    const link = document.createElement("a");
    link.href = `${this.root.dataset.login}?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = "Sign in";
    say(`Signed out; the numbers are from ${clock(this.freshAt)}. `, link);
    this.tellAge();
  }

  /** Stops what the person looks at, not the rollout. */
  freeze(frozen) {
    this.frozen = frozen;
    const button = byId("nx-freeze");
    button.textContent = frozen ? "Go on showing what happens" : "Freeze view";
    this.tellAge();
    this.schedule(true);
  }

  tellAge() {
    byId("nx-freeze").hidden = this.stopped;
    this.root.classList.toggle("nx-stale", this.missed >= MISSES || (this.stopped && !this.ended));
    byId("nx-fresh").textContent = this.age();
  }

  age() {
    if (this.ended) return "Ended: nothing changes any more.";
    if (this.frozen) return `View frozen at ${clock(this.freshAt)}; the rollout goes on.`;
    return `Updated ${Math.round((Date.now() - this.freshAt) / 1000)} s ago`;
  }
}

const clock = (at) => new Date(at).toTimeString().slice(0, 8);
