// Acts of a person: a dialog over the page asks what is needed, the answer shows what came of it.
import { ask, byId, SignedOut } from "./parts.js";
import { say } from "./said.js";

// Where the focus goes, the first that is there: the safe way out of a dangerous act, what is wrong, the first field.
const FOCUS = ["[autofocus]", "[role=alert] a", "input:not([type=hidden])"];
const TITLE = "nx-dialog-title"; // stands in every answer that is meant for the dialog

export class Acts {
  constructor(live) {
    this.live = live;
    this.dialog = byId("nx-dialog");
    this.busy = false;
  }

  start() {
    document.addEventListener("click", (event) => this.clicked(event));
    document.addEventListener("submit", (event) => this.submitted(event));
  }

  clicked(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (event.target.closest("[aria-disabled=true]")) return event.preventDefault();
    const link = event.target.closest("a[data-dialog]");
    if (link) {
      event.preventDefault();
      return this.act(() => this.open(link.href));
    }
    if (event.target.closest("dialog [data-close]")) {
      event.preventDefault();
      event.target.closest("dialog").close();
    }
    return undefined;
  }

  submitted(event) {
    const button = event.submitter;
    const mine = event.target.id === "nx-move" || this.dialog.contains(event.target);
    if (!mine || button?.getAttribute("aria-disabled") === "true") return mine && event.preventDefault();
    event.preventDefault();
    const body = new URLSearchParams(new FormData(event.target, button));
    const address = button?.hasAttribute("formaction") ? button.formAction : event.target.action;
    return this.act(() => this.post(address, body));
  }

  /** One at a time: a second press of the same button must not undo the first. */
  async act(deed) {
    if (this.busy) return;
    this.busy = true;
    try {
      await deed();
    } catch (error) {
      if (error instanceof SignedOut) this.live.signedOut();
      else say("The server did not answer; nothing is known to have changed. Try again.");
    }
    this.busy = false;
  }

  async open(address) {
    const html = await (await ask(address)).text();
    if (html.includes(TITLE)) this.show(html);
    else say("Your account may not do this.");
  }

  async post(address, body) {
    const answer = await ask(address, { method: "POST", body });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) return location.assign(elsewhere);
    const html = await answer.text();
    if (answer.status === 403 && !html.includes(TITLE)) return say("Your account may not do this.");
    if (answer.headers.has("X-Said")) {
      this.dialog.close();
      if (this.live.frozen) this.live.freeze(false);
      // What depends on the numbers may come later: the person can go on at once.
      this.live.show(html, decodeURIComponent(answer.headers.get("X-Said"))).catch((error) => this.live.failed(error));
      return undefined;
    }
    this.show(html); // refused, or something is missing
    return this.live.schedule(true);
  }

  show(html) {
    this.dialog.innerHTML = html;
    if (!this.dialog.open) this.dialog.showModal();
    const wanted = FOCUS.map((selector) => this.dialog.querySelector(selector)).find(Boolean);
    wanted?.focus();
  }
}
