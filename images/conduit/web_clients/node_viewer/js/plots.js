// Drawing with Plotly: a line, a heat map. Colours come from the style sheet.

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const WIDEST = 6; // a mesh longer than this, relative to its height, is not drawn to scale

let loading = null;

/** Load Plotly once; it is large, and the tree should not wait for it. */
function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "vendor/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      reject(new Error("Plots need vendor/plotly.min.js, which this server's document root lacks."));
    };
    document.head.append(script);
  });
  return loading;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const strong = color("--line-strong");
  const axis = { gridcolor: color("--line"), zerolinecolor: strong, linecolor: strong, tickcolor: strong,
    ticks: "outside", automargin: true };
  return { ink: color("--ink"), accent: color("--accent"), axis,
    layout: { paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      margin: { l: 56, r: 16, t: 12, b: 48 },
      font: { color: color("--quiet"), family: color("--font"), size: 13 },
      hoverlabel: { font: { family: color("--font") } } } };
}

async function draw(target, traces, layout) {
  try {
    const { react } = await plotly();
    // The same uirevision keeps what the reader has zoomed to when new data arrives.
    await react(target, traces, { uirevision: target.dataset.subject, ...layout }, CONFIG);
  } catch (error) {
    target.textContent = error.message;
    target.classList.add("unavailable");
  }
}

/** Draw values over their index. */
export function drawLine(target, { x, y }, label) {
  const { accent, axis, layout } = theme();
  const trace = { x, y, type: "scatter", mode: x.length <= 40 ? "lines+markers" : "lines",
    line: { color: accent, width: 2 }, hovertemplate: "%{x}: <b>%{y}</b><extra></extra>" };
  return draw(target, [trace], { ...layout,
    xaxis: { ...axis, title: title("index") },
    yaxis: { ...axis, title: title(label) } });
}

/** Draw a 2-D field in the coordinates of its mesh. */
export function drawHeatmap(target, field, { units, axes, association }, colorscale) {
  const { ink, axis, layout } = theme();
  const vertex = association === "vertex";
  const trace = { x: field.x, y: field.y, z: field.rows, type: "heatmap", colorscale,
    // Between vertices a field is interpolated; within an element it is constant.
    zsmooth: vertex ? "best" : false, hoverongaps: false,
    colorbar: { title: title((units ?? "").slice(0, 16)), thickness: 14, outlinewidth: 0, tickcolor: ink },
    hovertemplate: `${plain(axes[0])} %{x:.5g}, ${plain(axes[1])} %{y:.5g}<br>`
      + "<b>%{z:.6g}</b><extra></extra>" };
  const ratio = Math.abs(span(field.x) / span(field.y));
  const scaled = ratio < WIDEST && ratio > 1 / WIDEST;
  target.classList.toggle("scaled", scaled);
  target.style.setProperty("--ratio", ratio);
  return draw(target, [trace], { ...layout,
    xaxis: { ...flat(axis, axes[0], field.x), constrain: "domain" },
    yaxis: { ...flat(axis, axes[1], field.y), constrain: "domain",
      ...(scaled ? { scaleanchor: "x" } : {}) } });
}

// A heat map's cells reach beyond the outermost vertices; the mesh does not.
const flat = (axis, label, positions) => ({ ...axis, title: title(label), showgrid: false,
  range: [Math.min(positions[0], positions.at(-1)), Math.max(positions[0], positions.at(-1))] });

const title = (text) => ({ text: plain(text), font: { size: 13 }, standoff: 12 });
const span = (positions) => positions[positions.length - 1] - positions[0];

// Plotly reads some HTML in labels, and %{…} in templates: names from the data must stay names.
const plain = (text) =>
  text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`).replaceAll("%{", "%\u200b{");
