// The tree on the left: an ARIA tree over rows fetched as they are opened, and its filter.

import * as api from "./api.js";
import { element } from "./dom.js";

const FILTER_DELAY_MS = 150;
const OPEN_AT_FIRST = 12; // a top level of at most so many nodes starts with its small nodes open

export class Tree {
  #list; #filter; #note; #onSelect;
  #open = new Map(); // path of an open node -> {rows, total}
  #matches = null; // rows of the filter's answer, or null
  #selected = null;
  #focused = null;
  #changed = new Set();

  constructor(list, filter, note, onSelect) {
    this.#list = list;
    this.#filter = filter;
    this.#note = note;
    this.#onSelect = onSelect;
    list.addEventListener("keydown", (event) => this.#onKey(event));
    list.addEventListener("click", (event) => this.#onClick(event));
    let timer = null;
    filter.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#search(), FILTER_DELAY_MS);
    });
    filter.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") { this.#focusRow(0); event.preventDefault(); }
    });
  }

  /** Fetch all open nodes again; rows at the changed paths light up for a moment. */
  async refresh(changed) {
    const first = this.#open.size === 0;
    this.#changed = new Set(changed ?? []);
    const open = new Map();
    await Promise.all([...this.#open.keys(), ...(first ? [""] : [])].map(async (path) => {
      // A node that is gone is left out, and with it what was open below.
      try { open.set(path, await this.#fetch(path, this.#open.get(path)?.rows.length)); } catch { /* gone */ }
    }));
    this.#open = open;
    if (first) await this.#openSmall();
    if (this.#matches) await this.#search();
    this.#draw();
    this.#changed.clear();
  }

  /** Show which node is selected; null for none. */
  mark(path) {
    this.#selected = path;
    this.#draw();
  }

  async #fetch(path, atLeast = 0) {
    const answer = await api.children(path);
    while (answer.rows.length < Math.min(atLeast, answer.total)) {
      answer.rows.push(...(await api.children(path, answer.rows.length)).rows);
    }
    return answer;
  }

  async #openSmall() {
    const top = this.#open.get("")?.rows ?? [];
    if (top.length > OPEN_AT_FIRST) return;
    const small = top.filter((row) => row.kind !== "leaf" && row.count <= OPEN_AT_FIRST);
    await Promise.all(small.map(async ({ path }) => this.#open.set(path, await this.#fetch(path))));
  }

  async #search() {
    const query = this.#filter.value.trim();
    const answer = query ? await api.search(query) : null;
    if (query !== this.#filter.value.trim()) return; // typed on meanwhile
    this.#matches = answer && answer.rows;
    this.#note.hidden = !answer;
    if (answer) {
      const capped = answer.matches >= answer.limit ? "the first " : "";
      this.#note.textContent = answer.matches ? `${capped}${answer.matches} found` : "nothing found";
    }
    this.#draw();
  }

  #rows() {
    if (this.#matches) {
      return this.#matches.map((row) => ({ ...row, expanded: row.kind !== "leaf" || null }));
    }
    const rows = [];
    const visit = (path, level) => {
      const { rows: inside, total } = this.#open.get(path) ?? { rows: [], total: 0 };
      inside.forEach((row, index) => {
        const expanded = row.kind === "leaf" || row.count === 0 ? null : this.#open.has(row.path);
        rows.push({ ...row, level, expanded, index, total });
        if (expanded) visit(row.path, level + 1);
      });
      if (inside.length < total) rows.push({ more: path, name: `${total - inside.length} more …`, level });
    };
    visit("", 1);
    return rows;
  }

  #draw() {
    const hadFocus = this.#list.contains(document.activeElement);
    const rows = this.#rows();
    const items = rows.map((row) => this.#item(row));
    this.#list.replaceChildren(...items);
    // Exactly one row is reached by Tab; arrow keys move it.
    const stop = items.find((item) => item.dataset.path === this.#focused)
      ?? items.find((item) => item.dataset.path === this.#selected) ?? items[0];
    if (stop) stop.tabIndex = 0;
    if (stop && hadFocus) stop.focus({ preventScroll: true });
  }

  #item(row) {
    const inner = row.expanded !== null && row.more === undefined;
    const arrow = !inner ? "leaf" : row.expanded ? "open" : "closed";
    const item = element("li", {
      role: "treeitem", tabindex: -1, "aria-level": row.level,
      "aria-selected": String(row.path === this.#selected),
      "aria-expanded": arrow === "leaf" ? null : String(arrow === "open"),
      "aria-setsize": row.total, "aria-posinset": row.index === undefined ? null : row.index + 1,
      "data-path": row.path, "data-more": row.more, title: row.path,
      class: this.#changed.has(row.path) ? "changed" : row.matches === false ? "ancestor" : null,
    },
    element("span", { class: `arrow ${arrow}`, "aria-hidden": "true" }),
    element("span", { class: "name" }, row.name),
    element("span", { class: "hint" }, row.more === undefined ? hint(row) : ""));
    item.style.setProperty("--level", row.level);
    return item;
  }

  #onClick(event) {
    const item = event.target.closest("li");
    if (!item) return;
    this.#focused = item.dataset.path;
    if (event.target.closest(".arrow:not(.leaf)")) this.#toggle(item);
    else this.#activate(item);
  }

  #activate(item) {
    if (item.dataset.more !== undefined) this.#fetchMore(item.dataset.more);
    else {
      if (item.getAttribute("aria-expanded") === "false") this.#toggle(item);
      this.#onSelect(item.dataset.path);
    }
  }

  async #fetchMore(path) {
    const known = this.#open.get(path);
    const next = await api.children(path, known.rows.length);
    this.#open.set(path, { rows: [...known.rows, ...next.rows], total: next.total });
    this.#draw();
  }

  async #toggle(item) {
    const { path } = item.dataset;
    if (this.#matches) return; // all matches are in view
    if (!this.#open.delete(path)) this.#open.set(path, await this.#fetch(path));
    this.#draw();
  }

  #focusRow(index) {
    const items = this.#list.children;
    const item = items[Math.max(0, Math.min(index, items.length - 1))];
    if (!item) return;
    for (const other of items) other.tabIndex = -1;
    item.tabIndex = 0;
    item.focus();
    this.#focused = item.dataset.path;
  }

  #onKey(event) {
    const items = [...this.#list.children];
    const index = items.indexOf(document.activeElement);
    if (index < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const item = items[index];
    const expanded = item.getAttribute("aria-expanded");
    const above = () => items.findLastIndex(
      (other, at) => at < index && other.ariaLevel < item.ariaLevel);
    const acts = {
      ArrowDown: () => this.#focusRow(index + 1),
      ArrowUp: () => this.#focusRow(index - 1),
      Home: () => this.#focusRow(0),
      End: () => this.#focusRow(items.length - 1),
      Enter: () => this.#activate(item),
      " ": () => this.#activate(item),
      ArrowRight: () => (expanded === "false" ? this.#toggle(item) : expanded && this.#focusRow(index + 1)),
      ArrowLeft: () => (expanded === "true" && !this.#matches ? this.#toggle(item) : this.#focusRow(above())),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }
}

function hint(row) {
  if (row.kind !== "leaf") return `${row.kind === "list" ? "list" : ""} ${row.count}`;
  if (row.dtype === "empty") return "empty";
  if (row.dtype === "char8_str" || row.count === 1) return row.value;
  return `${row.dtype}[${row.count.toLocaleString("en")}]`;
}
