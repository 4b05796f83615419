"use strict";
// What the run was, and how numbers are written.

const data = JSON.parse(document.getElementById("data").textContent);
const byID = id => document.getElementById(id);
const thin = "\u202f";

const digits = n => n >= 99.95 || n === 0 ? n.toFixed(0) : n >= 9.995 ? n.toFixed(1) : n.toFixed(2);

const write = {
  number: n => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, thin),
  count: n => Number.isInteger(n) || n >= 100 ? write.number(n) : String(+n.toFixed(2)),
  bytes(n) {
    let unit = 0;
    for (; n >= 1000 && unit < 4; unit++) n /= 1024;
    return digits(n).replace(/\.0+$/, "") + thin + ["B", "KiB", "MiB", "GiB", "TiB"][unit];
  },
  ms: n => n < 999.5 ? digits(n) + thin + "ms" : n < 59950 ? digits(n / 1000) + thin + "s" : write.clock(n / 1000),
  seconds: (s, places = 1) => s.toFixed(places) + thin + "s",
  // Minutes and seconds, with as many places as it takes to tell neighbours apart.
  clock(s, places = 0) {
    s = Number(s.toFixed(places));
    const minutes = Math.floor(s / 60);
    const two = (s - 60 * minutes).toFixed(places).padStart(places ? places + 3 : 2, "0");
    return minutes < 60 ? minutes + ":" + two : Math.floor(minutes / 60) + ":" + String(minutes % 60).padStart(2, "0") + ":" + two;
  },
};

// element makes one of text and other elements; nothing is ever read as HTML.
function element(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
