// The table of an array's values, one page at a time: a million rows would stall any browser.

import * as api from "./api.js";
import { element } from "./dom.js";

const COLUMNS = 10;
const PAGE = 200;

export class ValueTable {
  #path; #count = 0; #offset = 0;
  #body = element("tbody", {});
  #range = element("span", { class: "quiet", role: "status" });
  #previous = element("button", { type: "button", "aria-label": "Previous values",
    onclick: () => this.#go(this.#offset - PAGE) }, "‹");
  #next = element("button", { type: "button", "aria-label": "Next values",
    onclick: () => this.#go(this.#offset + PAGE) }, "›");
  #jump = element("input", { type: "number", min: 0, placeholder: "index", "aria-label": "Go to index",
    onchange: () => this.#go(Number(this.#jump.value)) });

  constructor(path) {
    this.#path = path;
    const heads = Array.from({ length: COLUMNS },
      (_, column) => element("th", { scope: "col" }, `+${column}`));
    this.root = element("div", { class: "card", "data-testid": "value-table" },
      element("div", { class: "toolbar" }, element("h3", {}, "Values"), element("span", { class: "spacer" }),
        this.#range, this.#jump, this.#previous, this.#next),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Values" },
        element("table", {}, element("thead", {}, element("tr", {},
          element("th", { scope: "col" }, "index"), ...heads)), this.#body)));
  }

  /** Fetch the current page again, of an array of `count` values. */
  async show(count) {
    this.#count = count;
    await this.#go(this.#offset);
  }

  async #go(index) {
    const last = Math.floor((this.#count - 1) / PAGE) * PAGE;
    this.#offset = Math.max(0, Math.min(Math.floor(index / PAGE) * PAGE || 0, last));
    const { offset, values } = await api.values(this.#path, this.#offset, PAGE);
    if (offset !== this.#offset) return; // paged on meanwhile
    const rows = [];
    for (let at = 0; at < values.length; at += COLUMNS) {
      rows.push(element("tr", {}, element("th", { scope: "row" }, String(offset + at)),
        ...values.slice(at, at + COLUMNS).map((text) => element("td", {}, text))));
    }
    this.#body.replaceChildren(...rows);
    const lastShown = offset + values.length - 1;
    this.#range.textContent = `${offset} – ${lastShown} of ${this.#count.toLocaleString("en")}`;
    this.#previous.disabled = offset === 0;
    this.#next.disabled = offset >= last;
  }
}
