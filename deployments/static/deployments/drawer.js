// One device of the deployment in a drawer beside the table; without this its link leads to a page of its own.
import { ask, byId, SignedOut } from "./parts.js";

export class Drawer {
  constructor(live) {
    this.live = live;
    this.drawer = byId("nx-drawer");
  }

  start() {
    byId("nx-table").addEventListener("click", (event) => this.clicked(event));
    this.drawer.addEventListener("click", (event) => this.inside(event));
  }

  clicked(event) {
    const link = event.target.closest("tbody a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.open(link.href);
  }

  async open(address) {
    try {
      const html = await (await ask(address)).text();
      this.drawer.innerHTML = html;
      this.drawer.prepend(closing());
      for (const copy of this.drawer.querySelectorAll("[data-copy]")) copy.hidden = false;
      this.drawer.showModal();
    } catch (error) {
      if (error instanceof SignedOut) this.live.signedOut();
      else this.live.failed(error);
    }
  }

  inside(event) {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      navigator.clipboard.writeText(byId(copy.dataset.copy).textContent).then(() => (copy.textContent = "Copied"));
    }
    if (event.target === this.drawer || event.target.closest(".nx-close")) this.drawer.close();
  }
}

function closing() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "nx-button nx-close";
  button.textContent = "Close";
  return button;
}
