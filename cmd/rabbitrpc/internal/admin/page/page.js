"use strict";
// Asks the daemon each second what it is doing, and shows that. Nothing that comes from it is ever read as HTML.

const every = 1000; // ms
const patience = 3000; // ms, for an answer
const source = location.origin + location.pathname + "status.json"; // without the password of a URL that has one: fetch refuses it
const byID = id => document.getElementById(id);
const thin = "\u202f";
let seen = null; // when the last answer came
let version = null; // that this page belongs to
let timer = 0;

const write = {
  number: n => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, thin),
  digits: n => n >= 99.95 ? write.number(n) : n === 0 ? "0" : n >= 9.95 ? n.toFixed(1) : n.toFixed(2),
  rate: n => write.digits(n) + thin + "/s",
  share: (n, all) => all > 0 ? write.digits(100 * n / all) + thin + "%" : "–",
  took(s) {
    if (s === 0) return "–";
    if (s < 0.0009995) return write.number(1e6 * s) + thin + "µs";
    return s < 0.9995 ? write.digits(1000 * s) + thin + "ms" : write.digits(s) + thin + "s";
  },
  bytes(n) {
    let unit = 0;
    for (; n >= 1000 && unit < 4; unit++) n /= 1024;
    return (unit > 0 && n < 99.95 ? n.toFixed(1) : n.toFixed(0)) + thin + ["B", "KiB", "MiB", "GiB", "TiB"][unit];
  },
  age(s) {
    for (const [unit, length, next, part] of [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]])
      if (s >= length) return Math.floor(s / length) + thin + unit + " " + Math.floor(s % length / part) + thin + next;
    return Math.floor(s) + thin + "s";
  },
  clock: t => t.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
};

function put(e, text) {
  if (e.textContent !== text) e.textContent = text; // else a selection of the reader's would be gone
}

function element(tag, attributes) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
}

// A cell is a text, or { text, kind } with how it looks, or { line } to be drawn.
function fill(e, cell) {
  if (cell.line) {
    draw(e, cell.line);
    return;
  }
  const { text, kind } = typeof cell === "string" ? { text: cell } : cell;
  if (!kind) {
    if (e.firstElementChild) e.replaceChildren();
    put(e, text);
    return;
  }
  if (!e.firstElementChild) e.replaceChildren(element("span", {}));
  e.firstElementChild.className = kind;
  put(e.firstElementChild, text);
}

function draw(e, values) {
  const names = "http://www.w3.org/2000/svg";
  if (!e.firstElementChild) {
    const svg = document.createElementNS(names, "svg");
    svg.setAttribute("viewBox", "0 0 100 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS(names, "polyline"));
    e.replaceChildren(svg);
  }
  const most = Math.max(1, ...values);
  const points = values.map((v, i) => (100 * i / (values.length - 1)).toFixed(1) + "," + (19 - 18 * v / most).toFixed(1));
  e.querySelector("polyline").setAttribute("points", points.join(" "));
}

// table shows rows, each an object of cells by the column's name, or says that there is nothing. The roles are said since phones
// show cards, and browsers then forget that it is a table.
function table(id, columns, rows, nothing) {
  const place = byID(id);
  if (rows.length === 0) {
    if (!place.querySelector(".nothing")) place.replaceChildren(element("p", { class: "nothing" }));
    put(place.firstElementChild, nothing);
    return;
  }
  if (!place.querySelector("table")) {
    const t = element("table", { role: "table", "aria-labelledby": id + "-title" });
    const head = element("tr", { role: "row" });
    for (const c of columns) {
      const th = element("th", { scope: "col", role: "columnheader", class: c.class || "" });
      th.append(c.name);
      head.append(th);
    }
    t.append(element("thead", { role: "rowgroup" }), element("tbody", { role: "rowgroup" }));
    t.tHead.append(head);
    place.replaceChildren(t);
  }
  const body = place.querySelector("tbody");
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  while (body.rows.length < rows.length) {
    const tr = element("tr", { role: "row" });
    columns.forEach((c, i) => tr.append(i === 0
      ? element("th", { scope: "row", role: "rowheader" })
      : element("td", { role: "cell", class: c.class || "", "data-label": c.name })));
    body.append(tr);
  }
  rows.forEach((row, i) => {
    const tr = body.rows[i];
    tr.className = row.part ? "part" : "";
    columns.forEach((c, j) => fill(tr.cells[j], row[c.name] ?? ""));
  });
}

// How a column looks is said by the last character of its name: # is a number, ~ a text of any length, _ has a line of its own on
// phones.
const looks = { "#": "n", "~": "text", "_": "wide" };
const columns = (...names) => names.map(n => ({ name: n.replace(/[#~_]$/, ""), class: looks[n.at(-1)] || "" }));
const badge = (text, kind) => ({ text, kind: "badge " + kind });
const tones = {
  connected: "good", serving: "good", present: "good", closed: "good", busy: "unsure", paused: "unsure", draining: "unsure",
  waiting: "bad", connecting: "bad", blocked: "bad", absent: "bad", missing: "bad", denied: "bad", open: "bad", "half-open": "unsure",
};
const state = text => badge(text, tones[text] || "none");

const grave = t => t.errors === 0 ? "" : t.errors < t.rate / 20 ? "unsure" : "bad";

const traffic = t => ({
  "Rate": write.rate(t.rate),
  "Trend": { line: t.history },
  "Errors": t.errors > 0 ? { text: write.share(t.errors, t.rate), kind: "tone " + grave(t) } : write.share(0, t.rate),
  "p50": write.took(t.p50), "p90": write.took(t.p90), "p99": write.took(t.p99),
});

// section shows what has rows only.
function section(id, columns, rows) {
  byID(id).parentElement.hidden = rows.length === 0;
  table(id, columns, rows, "");
}

function showServices(s) {
  const rows = [];
  for (const v of s.services) {
    rows.push({
      "Service": v.name, "State": state(v.state), "For": write.age(v.for), ...traffic(v),
      "Workers": write.number(v.running) + " of " + write.number(v.limit), "Replayed": write.number(v.replayed),
    });
    for (const m of v.methods) rows.push({ part: true, "Service": m.name, ...traffic(m) });
  }
  const measures = ["Rate#", "Trend", "Errors#", "p50#", "p90#", "p99#"];
  section("services", columns("Service", "State", "For#", ...measures, "Workers#", "Replayed#"), rows);
  section("called", columns("Service", "Servers", "Breaker", ...measures),
    s.called.map(c => ({ "Service": c.name, "Servers": state(c.presence), "Breaker": c.breaker ? state(c.breaker) : "none", ...traffic(c) })));
}

function showRest(s) {
  table("connections", columns("Connection", "State", "For#", "Sessions#", "Broker_", "Last error~"), s.connections.map(c => ({
    "Connection": c.name, "State": c.state === "closed" ? badge("closed", "none") : state(c.state), "For": write.age(c.for),
    "Broker": c.broker || "–", "Sessions": write.number(c.sessions),
    "Last error": c.error ? c.error + ", " + write.age(c.error_ago) + " ago" : "none",
  })), "There are none.");
  table("errors", columns("Method", "Code_", "Side", "Last", "Times#", "Message~", "Call~"), s.errors.map(e => ({
    "Method": e.where, "Code": badge(e.code, "bad"), "Side": e.side, "Last": write.age(e.ago) + " ago", "Times": write.number(e.count),
    "Message": e.text, "Call": { text: e.call || "–", kind: "call" },
  })), "There was none.");
  const counts = ["answered", "replayed", "refused", "rejected", "expired", "dropped", "overdue", "panics", "parked"];
  const title = c => c[0].toUpperCase() + c.slice(1);
  section("counts", columns("Service", ...counts.map(c => title(c) + "#"), "Remembered_"), s.services.map(v => ({
    "Service": v.name, ...Object.fromEntries(counts.map(c => [title(c), write.number(v[c])])),
    "Remembered": v.store ? write.number(v.store.entries) + " in " + write.bytes(v.store.bytes) : "–",
  })));
}

function showFigures(s) {
  const all = [...s.services, ...s.called];
  const total = key => all.reduce((sum, v) => sum + v[key], 0);
  const most = key => write.took(Math.max(0, ...all.map(v => v[key])));
  const rate = total("rate"), errors = total("errors");
  const running = s.services.reduce((sum, v) => sum + v.running, 0);
  const figures = [
    ["Calls", write.rate(rate)], ["Errors", write.share(errors, rate), grave({ errors, rate })],
    ["Slowest p50", most("p50")], ["Slowest p99", most("p99")], ["Running", write.number(running)],
    ["Uptime", write.age(s.process.uptime)], ["Memory", s.process.rss ? write.bytes(s.process.rss) : "–"],
    ["Goroutines", write.number(s.process.goroutines)],
  ];
  const place = byID("figures");
  figures.forEach(([name, value, kind], i) => {
    if (!place.children[i]) {
      const e = element("div", {});
      e.append(element("dt", {}), element("dd", { class: "value" }));
      put(e.firstElementChild, name);
      place.append(e);
    }
    place.children[i].className = kind || "";
    put(place.children[i].lastElementChild, value);
  });
}

function show(s) {
  if (version !== null && version !== s.process.version) location.reload(); // the daemon was replaced by another
  version = s.process.version;
  const wrong = s.checks.filter(c => !c.ok);
  const drains = s.services.some(v => v.state === "draining");
  byID("head").className = s.ready ? "good" : drains ? "unsure" : "bad";
  put(byID("result"), s.ready ? "Ready" : drains ? "Draining" : "Not ready");
  put(byID("name"), s.name + " on " + s.process.host);
  document.title = byID("result").textContent + ": " + s.name + " on " + s.process.host;
  const reasons = byID("reasons"), said = wrong.map(c => c.name + " for " + write.age(c.for) + ": " + c.text);
  while (reasons.children.length > said.length) reasons.lastElementChild.remove();
  while (reasons.children.length < said.length) reasons.append(element("li", {}));
  said.forEach((text, i) => put(reasons.children[i], text));
  showFigures(s);
  showServices(s);
  showRest(s);
  put(byID("foot"), s.process.version + ", process " + s.process.pid);
  byID("main").hidden = false;
}

function lose(why) {
  document.body.classList.add("stale");
  byID("head").className = "bad";
  put(byID("result"), "No answer");
  byID("reasons").replaceChildren();
  document.title = "No answer: " + byID("name").textContent;
  const lost = byID("lost");
  lost.hidden = false;
  put(lost, "The daemon does not answer: " + why + "." + (seen ? " What is shown below is from " + write.clock(seen) + "." : ""));
  put(byID("live"), seen ? "Last answer " + write.age((Date.now() - seen) / 1000) + " ago. Asking again each second" : "Asking again each second");
}

async function answer() {
  try {
    const got = await fetch(source, { cache: "no-store", signal: AbortSignal.timeout(patience) });
    if (got.ok) return await got.json();
    lose(got.status === 401 ? "it wants its token, load this page again" : "HTTP " + got.status);
  } catch (e) {
    lose(e.name === "TimeoutError" ? "not within " + patience / 1000 + " seconds" : "it has ended, or cannot be reached");
  }
  return null;
}

async function ask() {
  const s = await answer();
  clearTimeout(timer); // of another that was begun meanwhile
  if (!document.hidden) timer = setTimeout(ask, every);
  if (!s) return;
  seen = new Date();
  document.body.classList.remove("stale");
  byID("lost").hidden = true;
  put(byID("live"), "Live, as of " + write.clock(seen));
  show(s);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
