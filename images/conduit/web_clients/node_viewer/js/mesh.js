// The mesh view: a heat map of one field of a Blueprint mesh, and the choice of the field.

import * as api from "./api.js";
import { element, short, tiles } from "./dom.js";
import { touches } from "./paths.js";
import { drawHeatmap } from "./plots.js";

const POINTS = 600; // along each side: about what a plot has in pixels
const SCALES = ["Viridis", "Cividis", "Inferno", "RdBu", "Greys"];

export class MeshView {
  #root; #mesh = { fields: [], problems: [], state: [] };
  #chosen = null; #statistics = null; #parts = null;

  constructor(root) {
    this.#root = root;
  }

  /** Whether there is anything to draw. */
  get available() {
    return this.#mesh.fields.length > 0;
  }

  /** Ask which fields there are. */
  async refresh() {
    this.#mesh = await api.mesh();
  }

  /** Draw the chosen field; given what changed, only if that concerns the field or its mesh. */
  async show(changed = null) {
    this.#parts ??= this.#build();
    const { fields } = this.#mesh;
    const field = fields.find(({ path }) => path === this.#chosen) ?? fields[0];
    this.#chosen = field.path;
    this.#drawChoices();
    const concerned = changed === null || touches(changed, field.path)
      || changed.some((path) => /(^|\/)(coordsets|topologies)(\/|$)/.test(path));
    if (concerned) await this.#draw(field);
    this.#drawFacts(field);
  }

  async #draw(field) {
    const { plot, scale, note } = this.#parts;
    const [data, node] = await Promise.all(
      [api.field(field.path, field.association, POINTS), api.node(field.path)]);
    this.#statistics = node.statistics;
    plot.dataset.subject = field.path;
    await drawHeatmap(plot, data, field, scale.value);
    plot.dataset.field = field.label;
    const [down, across] = data.block;
    note.hidden = down * across === 1;
    note.textContent = `Averaged over blocks of ${across} × ${down} to fit the screen; the field has `
      + `${data.shape[1]} × ${data.shape[0]} values.`;
  }

  #build() {
    const redraw = () => this.show();
    const scale = element("select", { "aria-label": "Colour scale", onchange: redraw },
      ...SCALES.map((name) => element("option", {}, name)));
    const parts = {
      title: element("h2", {}),
      choices: element("fieldset", { class: "choices", "data-testid": "field-select",
        onchange: (event) => { this.#chosen = event.target.value; this.show(); } }),
      scale,
      plot: element("div", { class: "plot tall", "data-testid": "mesh-plot" }),
      note: element("p", { class: "quiet", hidden: true, "data-testid": "downsampled" }),
      facts: element("div", {}),
      problems: element("ul", { class: "quiet" }),
    };
    this.#root.append(parts.title,
      element("div", { class: "toolbar" }, parts.choices, element("span", { class: "spacer" }), scale),
      element("div", { class: "card" }, parts.plot, parts.note), parts.facts, parts.problems);
    return parts;
  }

  #drawChoices() {
    const { choices, problems, title } = this.#parts;
    title.textContent = this.#mesh.state.find(({ name }) => name === "title")?.value ?? "Mesh";
    problems.replaceChildren(...this.#mesh.problems.map((text) => element("li", {}, `Not drawn: ${text}`)));
    const wanted = this.#mesh.fields.map(({ path }) => path).join("\n");
    if (choices.dataset.shown !== wanted) {
      // Only when the fields differ: drawing them anew would take away the keyboard focus.
      choices.dataset.shown = wanted;
      choices.replaceChildren(element("legend", { class: "hidden" }, "Field"),
        ...this.#mesh.fields.map(({ path, label, association }) => element("label", { title: path },
          element("input", { type: "radio", name: "field", value: path }),
          element("span", {}, label, element("small", {}, ` ${association}`)))));
    }
    for (const input of choices.querySelectorAll("input")) input.checked = input.value === this.#chosen;
  }

  #drawFacts(field) {
    const { min, max, mean } = this.#statistics;
    const state = this.#mesh.state.filter(({ name, count }) => name !== "title" && count === 1);
    const [rows, columns] = field.shape;
    this.#parts.facts.replaceChildren(tiles([
      ...state.map(({ name, value }) => [name, value]),
      ["grid", `${columns} × ${rows}`],
      ["minimum", short(min)], ["mean", short(mean)], ["maximum", short(max)],
    ]));
  }
}
