"use strict";
// A chart over the time of the run. All of them show the same part of it, and the same time under the cursor.

const view = { from: 0, to: Math.max(data.length, 0.1), shown: [] };
const whole = { from: view.from, to: view.to };
const least = 0.2; // seconds that can be looked at

function zoom(from, to) {
  const width = Math.min(Math.max(to - from, least), whole.to);
  view.from = Math.min(Math.max(from, 0), whole.to - width);
  view.to = view.from + width;
  for (const u of view.shown) u.setScale("x", { min: view.from, max: view.to });
  viewChanged();
}

function zoomByKey(event) {
  const width = view.to - view.from;
  const step = { ArrowLeft: [-0.2, -0.2], ArrowRight: [0.2, 0.2], "+": [0.2, -0.2], "=": [0.2, -0.2], "-": [-0.35, 0.35] }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (step) zoom(view.from + step[0] * width, view.to + step[1] * width);
  else if (event.key === "0" || event.key === "Escape") zoom(whole.from, whole.to);
  else return;
  event.preventDefault();
}

const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';

function axis(more) {
  return Object.assign({
    stroke: colour("muted"), font, labelFont: font, gap: 6,
    grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("rule"), width: 1, size: 4 },
  }, more);
}

const timeAxis = () => axis({
  size: 32, space: 64,
  incrs: [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400],
  values: (u, splits, i, space, incr) => splits.map(s => write.clock(s, incr < 1 ? 1 : 0)),
});

// shade fills the time of each fault, behind what is drawn.
function shade(u) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = colour("shade");
  for (const f of data.faults) {
    const left = u.valToPos(f.from, "x", true), right = u.valToPos(f.to, "x", true);
    ctx.fillRect(left, bbox.top, Math.max(right - left, devicePixelRatio), bbox.height);
  }
  ctx.restore();
}

// chart draws into the element: options are those of uPlot that differ from one chart to the other.
function chart(into, values, options) {
  const { hooks = {}, scale, valueAxis, height, ...rest } = options;
  const u = new uPlot({
    width: Math.max(into.clientWidth, 200), height,
    padding: [8, 20, 0, 0],
    ...rest,
    scales: { x: { time: false, range: () => [view.from, view.to] }, y: scale },
    axes: [timeAxis(), axis({ size: 60, ...valueAxis })],
    cursor: {
      y: false, points: { show: false }, drag: { x: true, y: false, setScale: false },
      sync: { key: "run", setSeries: false, filters: { pub: type => type === "mousemove" || type === "mouseleave" } },
      bind: { dblclick: () => () => zoom(whole.from, whole.to) },
    },
    hooks: { drawClear: [shade], setSelect: [selected], ...hooks },
  }, values, into);
  legendByKey(u);
  view.shown.push(u);
  return u;
}

function selected(u) {
  const { left, width } = u.select;
  if (width < 4) return;
  const from = u.posToVal(left, "x"), to = u.posToVal(left + width, "x");
  u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  zoom(from, to);
}

// legendByKey lets the keyboard show and hide lines, as a click does.
function legendByKey(u) {
  u.root.querySelectorAll(".u-series:not(:first-child) th").forEach((th, i) => {
    th.tabIndex = 0;
    th.setAttribute("role", "button");
    th.setAttribute("aria-pressed", "true");
    th.addEventListener("click", () => th.setAttribute("aria-pressed", String(u.series[i + 1].show)));
    th.addEventListener("keydown", event => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        th.click();
      }
    });
  });
}
