"use strict";
// The charts of the page.

const kinds = ["ok", "rejected", "failed", "ambiguous", "lost"]; // from top to bottom: those that matter stand on the ground
const times = (n, step) => Array.from({ length: n }, (_, i) => +(i * step).toFixed(3));

// stack adds up those below each, but for what is hidden. Where there is nothing, nothing is drawn.
function stack(hidden) {
  const sums = new Array(data.outcomes.ok.length).fill(0), layers = [];
  for (const kind of [...kinds].reverse()) {
    if (!hidden.has(kind)) data.outcomes[kind].forEach((n, i) => { sums[i] += n; });
    layers.unshift(sums.map(n => n || null));
  }
  return [times(sums.length, data.outcomes.step), ...layers];
}

function outcomesChart(into) {
  const hidden = new Set();
  const lanes = lanesOf(data.faults);
  return chart(into, stack(hidden), {
    height: 230 + lane * (lanes.count + 1),
    padding: [lane * (lanes.count + 1) + 10, 20, 0, 0],
    scale: { range: (u, min, max) => [0, (max || 1) * 1.05] },
    valueAxis: { values: (u, splits) => splits.map(write.count), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5] },
    series: [
      { label: "Time", value: (u, t) => t == null ? "–" : write.clock(t, 1) },
      ...kinds.map((kind, i) => ({
        label: kind, fill: colour(kind), stroke: colour(kind), width: 0, points: { show: false },
        paths: uPlot.paths.bars({ size: [1, Infinity, i ? 2 : 1], align: 1, gap: 0 }),
        value: (u, sum, s, at) => at == null ? "–" : write.number(data.outcomes[kind][at]),
      })),
    ],
    hooks: {
      draw: [u => drawPhases(u), u => drawLanes(u, lanes)],
      setCursor: [u => { byID("now").textContent = activeAt(u.cursor.left < 0 ? null : u.posToVal(u.cursor.left, "x")); }],
      setSeries: [(u, i, options) => {
        if (i == null || options.show == null) return;
        hidden[options.show ? "delete" : "add"](kinds[i - 1]);
        u.setData(stack(hidden), false);
        u.setScale("x", { min: view.from, max: view.to });
      }],
    },
  });
}

const activeAt = t => t == null ? "" : data.faults.filter(f => f.from <= t && t <= f.to).map(f => f.name).join(", ");

const percentiles = [["p50", 1.5], ["p90", 1.5], ["p99", 1.5], ["max", 1, [4, 4]]];

function waitsChart(into) {
  const w = data.waits;
  return chart(into, [times(w.p50.length, w.step), ...percentiles.map(([name]) => w[name])], {
    height: 240,
    scale: {
      distr: 3, log: 10,
      range: (u, min, max) => min == null ? [1, 10] : [10 ** Math.floor(Math.log10(min)), 10 ** Math.ceil(Math.log10(max * 1.01))],
    },
    valueAxis: {
      splits: (u, i, min, max) => {
        const all = [];
        for (let e = Math.round(Math.log10(min)); 10 ** e <= max * 1.001; e++) all.push(10 ** e);
        return all;
      },
      filter: (u, splits) => splits,
      values: (u, splits) => splits.map(ms => ms < 1000 ? +ms.toPrecision(3) + thin + "ms" : write.number(ms / 1000) + thin + "s"),
    },
    series: [
      { label: "Time", value: (u, t) => t == null ? "–" : write.clock(t) },
      ...percentiles.map(([name, width, dash]) => ({
        label: name, stroke: colour(name), width, dash, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }),
        value: (u, ms) => ms == null ? "–" : write.ms(ms),
      })),
    ],
  });
}

function resourceChart(into, c) {
  const form = c.bytes ? write.bytes : write.count;
  return chart(into, [c.at, ...c.lines.map(l => l.v)], {
    height: 170,
    scale: { range: (u, min, max) => [0, (max || 1) * 1.08] },
    valueAxis: {
      values: (u, splits) => splits.map(form),
      ...(c.bytes && { incrs: Array.from({ length: 45 }, (_, i) => 2 ** i) }),
    },
    series: [
      { label: "Time", value: (u, t) => t == null ? "–" : write.clock(t, 1) },
      ...c.lines.map((l, i) => ({
        label: l.name, stroke: colour("line-" + (i % 8 + 1)), width: 1.5, dash: i < 8 ? undefined : [6, 3], points: { show: false },
        spanGaps: false, value: (u, n) => n == null ? "–" : form(n),
      })),
    ],
  });
}

function viewChanged() {
  const all = view.from === whole.from && view.to === whole.to;
  byID("view").textContent = write.clock(view.from, all ? 0 : 1) + " – " + write.clock(view.to, all ? 0 : 1);
  byID("whole").disabled = all;
}

// draw makes all charts anew: their colours are read as they are made.
function draw() {
  for (const u of view.shown) u.destroy();
  view.shown = [];
  outcomesChart(byID("outcomes"));
  waitsChart(byID("waits"));
  data.resources.forEach((c, i) => resourceChart(byID("resource-" + i), c));
}

const width = s => s < 1 ? 1000 * s + thin + "ms" : s === 1 ? "second" : write.number(s) + thin + "s";

function start() {
  if (!data.search.total && !data.resources.length && !data.faults.length) return;
  byID("charts").hidden = false;
  byID("outcomes-unit").textContent = "calls per " + width(data.outcomes.step) + ", by when they ended; shaded: faults";
  byID("waits-unit").textContent = "per " + width(data.waits.step) + ", all calls but lost ones; the axis is logarithmic";
  data.resources.forEach((c, i) => byID("resources").append(element("figure", {},
    element("figcaption", {}, element("h3", {}, c.title)),
    element("div", { class: "chart", id: "resource-" + i, tabindex: 0, role: "group", "aria-label": "Chart of " + c.title + " over time" }))));
  draw();
  viewChanged();
  for (const e of document.querySelectorAll(".chart")) e.addEventListener("keydown", zoomByKey);
  byID("whole").addEventListener("click", () => zoom(whole.from, whole.to));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => requestAnimationFrame(() => {
    for (const u of view.shown) u.setSize({ width: Math.max(u.root.parentElement.clientWidth, 200), height: u.height });
  })).observe(byID("charts"));
  document.querySelectorAll("#faults tbody tr").forEach((row, i) => {
    const f = data.faults[i], name = row.querySelector("th");
    const button = element("button", { type: "button", class: "zoom", "aria-label": "Zoom in on fault " + (i + 1) }, name.previousElementSibling.textContent);
    button.addEventListener("click", () => {
      const room = Math.max(1, 0.5 * (f.to - f.from));
      zoom(f.from - room, f.to + room);
      byID("outcomes").scrollIntoView({ block: "center" });
    });
    name.previousElementSibling.replaceChildren(button);
  });
}
