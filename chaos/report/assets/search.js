"use strict";
// The calls that the page has, and how to find some of them.

const names = ["id", "tag", "client", "process", "kind", "op", "outcome", "code", "server", "error", "invoked", "wait", "had", "attempts", "replayed", "input", "output"];
const worded = new Set(["client", "process", "kind", "op", "outcome", "code", "server", "error"]);
const numeric = new Set(["invoked", "wait", "had", "attempts", "replayed"]);

const calls = (data.search.rows || []).map(row => {
  const call = {};
  names.forEach((name, i) => {
    const v = row[i];
    call[name] = worded.has(name) ? data.search.words[v || 0] : v ?? (numeric.has(name) ? 0 : "");
  });
  call.text = [call.id, call.client, call.process, call.tag, call.error, call.input, call.output, call.op, call.code, call.server].join("\n").toLowerCase();
  return call;
}).sort((a, b) => a.invoked - b.invoked);

const page = 200; // rows that are shown at a time
const search = { found: calls, shown: 0 };
const choices = ["outcome", "op", "code", "server", "kind"];

function fillChoices() {
  for (const name of choices) {
    const counts = new Map();
    for (const c of calls) counts.set(c[name], (counts.get(c[name]) || 0) + 1);
    const options = [...counts.keys()].filter(Boolean).sort().map(v => new Option(v + " (" + write.number(counts.get(v)) + ")", v));
    byID(name).replaceChildren(new Option("any", ""), ...options);
  }
}

// matcher returns a function that says whether a call is one of those asked for.
function matcher() {
  const words = byID("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const equal = choices.map(name => [name, byID(name).value]).filter(([, v]) => v);
  const number = (id, otherwise) => byID(id).value === "" ? otherwise : 1e6 * byID(id).valueAsNumber;
  const from = number("from", -Infinity), to = number("to", Infinity);
  const again = byID("again").checked, replayed = byID("replayed").checked;
  return c => c.invoked <= to && c.invoked + c.wait >= from && (!again || c.attempts > 1) && (!replayed || c.replayed) &&
    equal.every(([name, v]) => c[name] === v) && words.every(w => c.text.includes(w));
}

function find() {
  search.found = calls.filter(matcher());
  search.shown = 0;
  byID("rows").replaceChildren();
  showMore();
}

function showMore() {
  const next = search.found.slice(search.shown, search.shown + page);
  byID("rows").append(...next.map(rowOf));
  search.shown += next.length;
  const n = search.found.length;
  byID("found").textContent = write.number(n) + (n === 1 ? " call" : " calls") + (search.shown < n ? ", of which the first " + write.number(search.shown) + " are shown" : "");
  byID("more").hidden = search.shown >= n;
  byID("export").disabled = n === 0;
}

function rowOf(c) {
  const id = element("button", { type: "button", "aria-expanded": "false" }, c.id || "(none)");
  const row = element("tr", {},
    element("td", { class: "n" }, write.seconds(c.invoked / 1e6, 3)),
    element("td", { class: "n" }, c.outcome === "lost" ? "–" : write.ms(c.wait / 1000)),
    element("td", {}, element("span", { class: "dot" }, c.outcome)),
    element("td", { class: "id" }, id),
    element("td", {}, c.op + (c.kind ? " (" + c.kind + ")" : "")),
    element("td", {}, c.process), element("td", {}, c.code), element("td", {}, c.server + (c.replayed ? " (replayed)" : "")),
    element("td", { class: "n" }, write.number(c.attempts)), element("td", {}, c.tag));
  if (kinds.includes(c.outcome)) row.querySelector(".dot").classList.add(c.outcome);
  id.addEventListener("click", () => unfold(c, row, id));
  return row;
}

function unfold(c, row, id) {
  const open = id.getAttribute("aria-expanded") === "true";
  id.setAttribute("aria-expanded", String(!open));
  if (open) return row.nextElementSibling.remove();
  const list = element("dl", {});
  const add = (name, value) => value && list.append(element("dt", {}, name), element("dd", {}, value));
  add("error", c.error);
  add("input", c.input);
  add("output", c.output);
  add("client", c.client);
  add("returned", c.outcome === "lost" ? "" : write.seconds((c.invoked + c.wait) / 1e6, 3));
  add("deadline", write.seconds((c.invoked + c.had) / 1e6, 3));
  row.after(element("tr", { class: "more" }, element("td", { colspan: row.children.length }, list)));
}

function save() {
  const lines = search.found.map(c => {
    const { text, ...rest } = c;
    return JSON.stringify(rest) + "\n";
  });
  const link = element("a", { href: URL.createObjectURL(new Blob(lines, { type: "application/jsonl" })), download: "calls.jsonl" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function findText(text) {
  byID("filters").reset();
  byID("text").value = text;
  find();
  byID("search").scrollIntoView();
  byID("text").focus({ preventScroll: true });
}

// linkEvidence makes the IDs in evidence lead to their calls.
function linkEvidence() {
  const ids = new Set(calls.map(c => c.id));
  for (const item of document.querySelectorAll(".evidence li")) {
    item.replaceChildren(...item.textContent.split(/([\s,;:()[\]{}"'=]+)/).map(word => {
      if (!word || !ids.has(word)) return word;
      const button = element("button", { type: "button", title: "Find the call" }, word);
      button.addEventListener("click", () => findText(word));
      return button;
    }));
  }
}

function startSearch() {
  if (!calls.length) return;
  byID("search").hidden = false;
  byID("coverage").textContent = calls.length < data.search.total
    ? write.number(calls.length) + " of " + write.number(data.search.total) + " are in this page: those that evidence names, that were not plain, and a sample of others"
    : write.number(calls.length);
  fillChoices();
  find();
  linkEvidence();
  byID("filters").addEventListener("input", find);
  byID("filters").addEventListener("submit", event => event.preventDefault());
  byID("filters").addEventListener("reset", () => setTimeout(find));
  byID("more").addEventListener("click", showMore);
  byID("export").addEventListener("click", save);
  byID("in-view").addEventListener("click", () => {
    byID("from").value = view.from.toFixed(3);
    byID("to").value = view.to.toFixed(3);
    find();
    byID("search").scrollIntoView();
  });
}

start();
startSearch();
