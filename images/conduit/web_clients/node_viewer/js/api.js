// Requests to the server. Knows its addresses and formats; shows nothing.

// Not document.baseURI: that may hold "user:password@", which fetch() refuses.
const BASE = new URL(".", location.origin + location.pathname);

/** Return the absolute address of a path beside the page, with query parameters. */
export function address(path, parameters = {}) {
  const url = new URL(path, BASE);
  url.search = new URLSearchParams(parameters);
  return url;
}

const TIMEOUT_MS = 30000;

async function request(path, parameters) {
  const response = await fetch(address(path, parameters), { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) {
    const reason = (await response.text()).trim() || response.statusText;
    throw new Error(`${response.status}: ${reason}`);
  }
  return response;
}

const json = async (path, parameters) => (await request(path, parameters)).json();

export const children = (path, offset = 0) => json("api/children", { path, offset });
export const search = (query) => json("api/search", { query });
export const node = (path) => json("api/node", { path });
export const values = (path, offset, count) => json("api/values", { path, offset, count });
export const mesh = () => json("api/mesh");

const header = (response, name) => response.headers.get(name).split(",").map(Number);

/** Fetch an array as a line: {x: indices, y: values}, reduced to about `points` points. */
export async function line(path, points) {
  const response = await request("api/array", { path, points });
  const [, length] = header(response, "X-Shape");
  const buffer = await response.arrayBuffer();
  return { x: new Float64Array(buffer, 0, length), y: new Float64Array(buffer, length * 8, length) };
}

/** Fetch a 2-D field: {x, y, rows, block, shape}; `block` says how many values each one averages. */
export async function field(path, association, points) {
  const response = await request("api/field", { path, points });
  const [height, width] = header(response, "X-Shape");
  const buffer = await response.arrayBuffer();
  // The edges of elements are one more than the elements.
  const extra = association === "vertex" ? 0 : 1;
  const x = new Float64Array(buffer, 0, width + extra);
  const y = new Float64Array(buffer, x.byteLength, height + extra);
  const start = x.byteLength + y.byteLength;
  const rows = Array.from({ length: height },
    (_, row) => new Float32Array(buffer, start + row * width * 4, width));
  return { x, y, rows, block: header(response, "X-Block"), shape: header(response, "X-Full-Shape") };
}
