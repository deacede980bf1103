// Building elements. Text is always set as text: names and values of the data never become HTML.

/** Make an element with attributes and children; strings become text nodes. */
export function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...content.filter((part) => part !== null));
  return made;
}

/** Write a number for people: six digits, and an exponent only where it helps. */
export function short(value) {
  if (value === null) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en");
  return String(Number(value.toPrecision(6)));
}

/** Make a row of labelled numbers. */
export function tiles(entries) {
  return element("dl", { class: "tiles" }, ...entries.map(([label, value]) =>
    element("div", {}, element("dt", {}, label), element("dd", {}, value))));
}
