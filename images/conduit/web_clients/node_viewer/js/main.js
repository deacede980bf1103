// Puts the page together: what is selected, which view shows it, and when to fetch again.

import * as api from "./api.js";
import { connect } from "./live.js";
import { MeshView } from "./mesh.js";
import { NodeView } from "./details.js";
import { Tree } from "./tree.js";

const at = (id) => document.getElementById(id);
const views = { mesh: new MeshView(at("mesh")), node: new NodeView(at("node"), select) };
const tree = new Tree(at("tree"), at("filter"), at("filter-note"), select);

// The address keeps the selection: "#mesh", or "#/" and the path of a node.
const selectedPath = () =>
  (location.hash.startsWith("#/") ? decodeURIComponent(location.hash.slice(2)) : null);

function select(path) {
  location.hash = `#/${encodeURIComponent(path)}`;
}

async function showSelection(changed) {
  const path = selectedPath();
  const mesh = path === null && views.mesh.available;
  at("mesh").hidden = !mesh;
  at("node").hidden = mesh;
  at("show-mesh").setAttribute("aria-pressed", mesh);
  tree.mark(mesh ? null : path ?? "");
  await (mesh ? views.mesh.show(changed) : views.node.show(path ?? "", changed));
}

async function apply({ version, changed, error, file, protocol }) {
  report(error && `Showing the last good version. ${error}`);
  if (file) {
    at("file").textContent = file;
    at("protocol").textContent = protocol;
    document.title = `${file} – Conduit node viewer`;
  }
  if (changed === null || changed.length) {
    await Promise.all([tree.refresh(changed), views.mesh.refresh()]);
    at("show-mesh").hidden = !views.mesh.available;
    await showSelection(changed);
  }
  // Last, so that whoever waits for a version finds it drawn.
  at("version").textContent = version;
  document.body.dataset.version = version;
}

function report(message) {
  at("notice").hidden = !message;
  at("notice").textContent = message ?? "";
}

// One change at a time, in order.
let queue = Promise.resolve();
const enqueue = (task) => { queue = queue.then(task).catch((error) => report(error.message)); };

at("show-mesh").addEventListener("click", () => { location.hash = "#mesh"; });
window.addEventListener("hashchange", () => enqueue(() => showSelection()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => enqueue(() => showSelection()));
connect({
  onMessage: (message) => enqueue(() => apply(message)),
  onStatus: (status) => {
    at("live").dataset.status = status;
    at("live").textContent = status;
  },
});
