"use strict";
// What is above the first chart: a row for the phases of the run, and rows for its faults.

const lane = 17; // pixels
const maxLanes = 6;

// lanesOf puts faults that overlap into different rows, as far as there are any.
function lanesOf(faults) {
  const ends = [], rows = [];
  for (const i of faults.map((_, i) => i).sort((a, b) => faults[a].from - faults[b].from)) {
    let row = ends.findIndex(end => end <= faults[i].from);
    if (row < 0) row = ends.length < maxLanes ? ends.length : i % maxLanes;
    ends[row] = Math.max(ends[row] || 0, faults[i].to);
    (rows[row] ||= []).push({ ...faults[i], n: i + 1 });
  }
  return { rows, count: rows.length };
}

// above lets the function draw above the plot, between its left and right.
function above(u, paint) {
  const { ctx, bbox } = u, dpr = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, 0, bbox.width + 12 * dpr, bbox.top + bbox.height);
  ctx.clip();
  ctx.font = 11 * dpr + 'px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  paint(ctx, bbox, dpr);
  ctx.restore();
}

// label writes the first of the texts that has room.
function label(ctx, texts, left, y, room) {
  const text = texts.find(t => ctx.measureText(t).width <= room);
  if (text) ctx.fillText(text, left, y);
}

function drawPhases(u) {
  above(u, (ctx, bbox, dpr) => {
    for (const p of data.phases) {
      const left = Math.max(u.valToPos(p.from, "x", true), bbox.left), right = u.valToPos(p.to, "x", true);
      if (right < bbox.left) continue;
      ctx.strokeStyle = colour("phase");
      ctx.lineWidth = dpr;
      ctx.setLineDash([2 * dpr, 3 * dpr]);
      ctx.beginPath();
      ctx.moveTo(left, 2 * dpr);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillStyle = colour("muted");
      label(ctx, [p.name], left + 4 * dpr, lane / 2 * dpr, Math.min(right, bbox.left + bbox.width) - left - 4 * dpr);
    }
  });
}

function drawLanes(u, lanes) {
  above(u, (ctx, bbox, dpr) => lanes.rows.forEach((faults, row) => {
    const top = (row + 1) * lane * dpr, height = (lane - 3) * dpr, end = bbox.left + bbox.width;
    faults.forEach((f, i) => {
      const right = u.valToPos(f.to, "x", true);
      const left = Math.max(u.valToPos(f.from, "x", true), Math.min(bbox.left, right));
      const width = Math.max(right - left, 3 * dpr);
      ctx.fillStyle = colour("fault");
      ctx.fillRect(left, top, width, height);
      ctx.fillStyle = colour("fault-edge");
      ctx.fillRect(left, top + height - 2 * dpr, width, 2 * dpr);
      const next = i + 1 < faults.length ? u.valToPos(faults[i + 1].from, "x", true) : Infinity;
      ctx.fillStyle = colour("text");
      const from = Math.max(left, bbox.left);
      if (right >= bbox.left) label(ctx, [f.n + " " + f.name, String(f.n)], from + 3 * dpr, top + height / 2 - dpr, Math.min(next, end) - from - 5 * dpr);
    });
  }));
}
