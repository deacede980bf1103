// Paths of nodes: the server's notation, "a/b/[0]", with "/" in a name written "~1" and "~" written "~0".

const within = (inner, outer) => outer === "" || inner === outer || inner.startsWith(`${outer}/`);

/** Tell whether a change (a list of paths, or null for everything) concerns a node. */
export function touches(changed, path) {
  return changed === null || changed.some((one) => within(one, path) || within(path, one));
}

/** Split a path into [name, path] pairs from the top to the node. */
export function steps(path) {
  const segments = path === "" ? [] : path.split("/");
  return segments.map((segment, index) => [
    segment.replaceAll("~2", "").replaceAll("~1", "/").replaceAll("~0", "~"),
    segments.slice(0, index + 1).join("/"),
  ]);
}
