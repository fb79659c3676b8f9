// The device table in a window: of all its rows only those in sight are in the page. The order is a snapshot, so
// that nothing jumps while somebody reads; rows in sight are kept fresh in place.
import { ask, byId, morph } from "./parts.js";

const ROW = 33; // pixels, as in nx-details.css
const BEYOND = 5; // rows above and below what is in sight
const SETTLED = 60; // milliseconds without a scroll
const TYPED = 300; // milliseconds without a key
const PAGED = "nx-paged";

export class DeviceTable {
  constructor(live) {
    this.live = live;
    this.box = byId("nx-window");
    this.table = byId("nx-table");
    this.body = this.table.tBodies[0];
    this.filters = byId("nx-filters");
    this.ids = [];
    this.rows = new Map([...this.body.rows].filter((row) => row.id).map((row) => [idOf(row), row]));
    this.spacers = [spacer(), spacer()];
    this.settling = 0;
    this.typing = 0;
    this.asked = 0;
  }

  async start() {
    this.remember();
    if (localStorage.getItem(PAGED)) return;
    this.filters.addEventListener("submit", (event) => this.filter(event));
    this.filters.addEventListener("change", (event) => this.filter(event));
    this.filters.addEventListener("input", () => this.typed());
    document.addEventListener("click", (event) => this.followed(event));
    addEventListener("popstate", () => this.show(new URL(location.href)));
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.paint()).observe(this.box);
    byId("nx-reload").addEventListener("click", () => this.load());
    await this.load(new URLSearchParams(location.search).get("page"));
  }

  /** A long table suits the eye, pages suit printing and the browser's own search. */
  remember() {
    const paged = byId("nx-paged");
    paged.hidden = false;
    paged.textContent = localStorage.getItem(PAGED) ? "Show as one list" : "Show in pages";
    paged.addEventListener("click", () => {
      if (localStorage.getItem(PAGED)) localStorage.removeItem(PAGED);
      else localStorage.setItem(PAGED, "1");
      location.reload();
    });
  }

  get wanted() {
    const given = new URLSearchParams(location.search);
    return new URLSearchParams([...given].filter(([name, value]) => value && NAMES.includes(name)));
  }

  /** Fetches the order of the rows and starts at the top, or where `page` was. */
  async load(page = null) {
    const asked = (this.asked += 1);
    const answer = await (await ask(`${this.table.dataset.order}?${this.wanted}`)).json();
    if (asked !== this.asked) return; // a newer filter is on its way
    this.tellSorting(answer.head);
    let id = 0;
    this.ids = answer.count ? answer.steps.split(",").map((step) => (id += Number(step))) : [];
    this.places = new Map(this.ids.map((known, place) => [known, place]));
    this.table.setAttribute("aria-rowcount", this.ids.length + 1);
    this.box.style.setProperty("--nx-rows", this.ids.length); // as high as a few rows need
    this.box.classList.add("nx-windowed");
    byId("nx-pages").hidden = true;
    byId("nx-reload").hidden = true;
    this.tellCount();
    this.box.scrollTop = page > 1 ? (page - 1) * 50 * ROW : 0;
    this.paint();
    await this.fill();
  }

  tellSorting(head) {
    const fresh = document.createElement("thead");
    fresh.innerHTML = head;
    morph(this.table.tHead, fresh);
  }

  /** Whether fewer than all are wanted. */
  get filtered() {
    return [...this.wanted.keys()].some((name) => name !== "sort");
  }

  tellCount() {
    const { filtered } = this;
    const count = this.ids.length.toLocaleString("en");
    byId("nx-counted").textContent =
      `${count} ${this.ids.length === 1 ? "device" : "devices"}${filtered ? " under these filters" : ""}`;
    byId("nx-clear").hidden = !filtered;
    const csv = byId("nx-export-these");
    if (csv) csv.href = `${csv.href.split("?")[0]}?${this.wanted}`;
  }

  // What is in sight.

  get sight() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - BEYOND);
    const last = Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + BEYOND;
    return this.ids.slice(first, last).map((id, index) => [id, first + index]);
  }

  paint() {
    if (!this.places) return;
    const sight = this.sight;
    const wanted = new Set(sight.map(([id]) => id));
    this.leave(wanted);
    const first = sight.length ? sight[0][1] : 0;
    const [above, below] = this.spacers;
    above.style.height = `${first * ROW}px`;
    below.style.height = `${Math.max(0, this.ids.length - first - sight.length) * ROW}px`;
    const rows = sight.map(([id, place]) => this.row(id, place));
    if (rows.length) this.body.querySelector(".nx-none")?.remove();
    let at = this.body.firstChild;
    for (const row of [above, ...rows, below]) {
      if (row === at) at = at.nextSibling;
      else this.body.insertBefore(row, at);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
    if (!rows.length) this.body.append(nobody(this.filtered));
  }

  /** Focus in a row that leaves goes to the table, so that the keyboard goes on from there. */
  leave(wanted) {
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      if (row.contains(document.activeElement)) this.box.focus({ preventScroll: true });
      this.rows.delete(id);
    }
  }

  row(id, place) {
    let row = this.rows.get(id);
    if (!row) {
      row = document.createElement("tr");
      row.id = `nx-task-${id}`;
      row.className = "nx-awaited";
      row.insertCell().textContent = "…";
      row.cells[0].colSpan = 6;
      this.rows.set(id, row);
    }
    row.setAttribute("aria-rowindex", place + 2);
    return row;
  }

  scrolled() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.fill(), SETTLED);
  }

  /** Rows in sight that are not there yet. */
  async fill() {
    await this.fetch([...this.rows].filter(([, row]) => row.className === "nx-awaited").map(([id]) => id));
  }

  /** Rows in sight, as they are by now. */
  async refresh() {
    this.offerReasons();
    if (!this.places) return this.fetch([...this.rows.keys()]); // shown in pages
    const planned = Number(byId("nx-live").dataset.total);
    if (!this.ids.length || (!this.filtered && this.ids.length !== planned)) return this.load();
    return this.fetch([...this.rows.keys()]);
  }

  async fetch(ids) {
    if (!ids.length) return;
    const html = await (await ask(`${this.table.dataset.rows}?ids=${ids}&${this.wanted}`)).text();
    const template = document.createElement("template");
    template.innerHTML = html;
    for (const fresh of [...template.content.children]) {
      const there = this.rows.get(idOf(fresh));
      if (!there) continue; // scrolled away meanwhile
      if (this.places) fresh.setAttribute("aria-rowindex", there.getAttribute("aria-rowindex"));
      if (there.className === "nx-awaited") {
        there.className = "";
        there.replaceChildren(...fresh.children);
      } else morph(there, fresh);
    }
    if (this.places) this.tellLeft();
  }

  /** The list is as it was when it was asked for; who has left it since is counted, not taken away. */
  tellLeft() {
    const left = this.body.querySelectorAll("[data-left]").length;
    const reload = byId("nx-reload");
    reload.hidden = !left;
    reload.textContent = `${left} shown no longer ${left === 1 ? "matches" : "match"}: list again`;
  }

  // Filters.

  /** Reasons that the page lists by now are there to filter by. */
  offerReasons() {
    const select = this.filters.elements.reason;
    for (const link of document.querySelectorAll("#nx-live .nx-reasons a")) {
      const value = new URL(link.href).searchParams.get("reason");
      if ([...select.options].some((option) => option.value === value)) continue;
      const title = value.startsWith("ended:") ? "Ended without it" : "Waiting";
      group(select, title).append(new Option(link.textContent.trim(), value));
    }
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.filter(), TYPED);
  }

  filter(event) {
    event?.preventDefault();
    clearTimeout(this.typing);
    const given = new URLSearchParams(new FormData(this.filters));
    const wanted = new URLSearchParams([...given].filter(([, value]) => value));
    if (String(wanted) === String(this.wanted)) return;
    history.pushState(null, "", `${location.pathname}?${wanted}`);
    this.load();
  }

  /** A number or a reason above the table, a column's title, or "Clear filters". */
  followed(event) {
    const link = event.target.closest("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const address = new URL(link.href);
    if (address.pathname !== location.pathname || address.hash !== "#nx-devices") return;
    event.preventDefault();
    history.pushState(null, "", address);
    this.show(address, link.textContent.trim());
    if (!("sort" in link.dataset)) byId("nx-devices").focus(); // who sorts may sort again
  }

  /** `words`: what the address was called where it was pressed. */
  show(address, words = "") {
    for (const name of NAMES) choose(this.filters.elements[name], address.searchParams.get(name) ?? "", words);
    this.load();
  }
}

const NAMES = ["query", "status", "reason", "sort"];

function choose(input, value, words) {
  const known = !input.options || [...input.options].some((option) => option.value === value);
  if (!known) input.add(new Option(words || value, value));
  input.value = value;
}

function group(select, title) {
  let found = [...select.querySelectorAll("optgroup")].find((each) => each.label === title);
  if (!found) {
    found = document.createElement("optgroup");
    found.label = title;
    select.append(found);
  }
  return found;
}

const idOf = (row) => Number(row.id.slice("nx-task-".length));

function spacer() {
  const row = document.createElement("tr");
  row.className = "nx-spacer";
  row.setAttribute("role", "presentation");
  return row;
}

function nobody(filtered) {
  const row = document.createElement("tr");
  row.className = "nx-none";
  row.insertCell().textContent = filtered ? "No device under these filters." : "No device yet.";
  row.cells[0].colSpan = 6;
  return row;
}
