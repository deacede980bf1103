// The details of one node: what it is, its value, and for numeric arrays numbers, a plot and a table.

import * as api from "./api.js";
import { element, short, tiles } from "./dom.js";
import { steps, touches } from "./paths.js";
import { drawLine } from "./plots.js";
import { ValueTable } from "./table.js";

const POINTS = 4000; // of a line plot: two for each pixel of a wide screen

export class NodeView {
  #root; #onSelect; #path = null; #kind = null; #plot = null; #table = null;

  constructor(root, onSelect) {
    this.#root = root;
    this.#onSelect = onSelect;
  }

  /** Show the node at a path; given what changed, only if that concerns the node. */
  async show(path, changed = null) {
    if (path === this.#path && changed !== null && !touches(changed, path)) return;
    let node;
    try {
      node = await api.node(path);
    } catch (error) {
      this.#path = null;
      this.#root.replaceChildren(this.#crumbs(path), element("p", { class: "quiet" }, error.message));
      return;
    }
    const array = node.statistics !== undefined && node.count > 1;
    // The same kind of node at the same path keeps its plot and table, with their zoom and page.
    if (path !== this.#path || array !== this.#kind) this.#build(path, array);
    this.#head.replaceChildren(this.#crumbs(path), chips(node), this.#body(node));
    if (array) await this.#drawArray(node);
  }

  #head = element("div", {});

  #build(path, array) {
    this.#path = path;
    this.#kind = array;
    this.#plot = element("div", { class: "plot", "data-testid": "plot", "data-subject": path });
    this.#note = element("p", { class: "quiet", hidden: true, "data-testid": "downsampled" });
    this.#table = new ValueTable(path);
    this.#root.replaceChildren(this.#head, ...(array
      ? [element("div", { class: "card" }, this.#plot, this.#note), this.#table.root] : []));
  }

  #note = null;

  async #drawArray(node) {
    const [line] = await Promise.all([api.line(node.path, POINTS), this.#table.show(node.count)]);
    await drawLine(this.#plot, line, node.path);
    this.#note.hidden = line.x.length === node.count;
    this.#note.textContent = `Drawn from the smallest and largest value of each run: ${short(line.x.length)} `
      + `of ${short(node.count)} points.`;
  }

  #crumbs(path) {
    const link = (name, to) => element("a", { href: `#/${encodeURIComponent(to)}` }, name);
    const parts = [["root", ""], ...steps(path)].map(([name, to]) => element("li", {}, link(name, to)));
    parts.at(-1).firstChild.setAttribute("aria-current", "page");
    return element("ol", { class: "crumbs", "aria-label": "Path", "data-testid": "path" }, ...parts);
  }

  #body(node) {
    if (node.statistics) return numbers(node);
    if (node.kind !== "leaf") return this.#children(node);
    const note = node.truncated ? element("p", { class: "quiet" }, "The beginning of a longer text.") : null;
    return element("div", {}, element("pre", { class: "value", "data-testid": "value" }, node.value), note);
  }

  #children(node) {
    const list = element("ul", { class: "children", "data-testid": "value" });
    api.children(node.path).then(({ rows, total }) => {
      list.append(...rows.map((row) => element("li", {},
        element("button", { type: "button", onclick: () => this.#onSelect(row.path) },
          element("b", {}, row.name),
          element("span", { class: "quiet" }, row.value ?? `${row.count} inside`)))));
      const more = total - rows.length;
      if (more) list.append(element("li", { class: "quiet" }, `and ${more.toLocaleString("en")} more`));
    }).catch((error) => list.append(element("li", { class: "quiet" }, error.message)));
    return list;
  }
}

function chips(node) {
  const facts = [node.dtype, node.shape ? `shape (${node.shape})` : null,
    node.kind === "leaf" ? null : `${node.count} children`, node.bytes ? `${short(node.bytes)} bytes` : null];
  return element("p", { class: "chips" },
    ...facts.filter(Boolean).map((text) => element("span", { class: "chip" }, text)));
}

function numbers({ value, count, statistics: { min, max, mean, not_finite: odd } }) {
  if (count === 1) return element("pre", { class: "value large", "data-testid": "value" }, value);
  return element("div", {},
    element("pre", { class: "value", "data-testid": "value" }, value),
    tiles([["minimum", short(min)], ["mean", short(mean)], ["maximum", short(max)],
      ...(odd ? [["not finite", short(odd)]] : [])]));
}
