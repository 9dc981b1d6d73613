// Keys, ranges of faces and dropped pictures. Every act is a plain form; without this file all of them still work.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const boxes = () => all("[data-grid] input[type=checkbox]");
const typing = (target) => target.matches("input:not([type=checkbox]), select, textarea");

let last = null; // the face that was clicked or reached last: where a range begins

function update() {
  const form = one("[data-faces]");
  if (!form) return;
  const chosen = boxes().filter((box) => box.checked).length;
  const output = one("[data-selected]", form);
  output.textContent = chosen ? `${chosen} selected` : "";
  for (const button of all("[data-needs]", form)) button.disabled = chosen === 0;
  for (const button of all("[data-all]", form))
    button.textContent = chosen ? `${button.dataset.some} ${chosen}` : button.dataset.all;
}

// One face at a time is a stop for the tab key; the arrows go on from there.
function stopAt(box) {
  for (const other of boxes()) {
    other.tabIndex = other === box ? 0 : -1;
    const source = one(".source", other.closest(".face"));
    if (source) source.tabIndex = other === box ? 0 : -1;
  }
}

function select(from, to, on) {
  const list = boxes();
  const ends = [list.indexOf(from), list.indexOf(to)].sort((a, b) => a - b);
  if (ends[0] < 0) return;
  for (const box of list.slice(ends[0], ends[1] + 1)) box.checked = on;
  update();
}

function neighbour(box, key) {
  const list = boxes();
  const at = list.indexOf(box);
  if (key === "ArrowLeft") return list[at - 1];
  if (key === "ArrowRight") return list[at + 1];
  const { left, top } = box.closest(".face").getBoundingClientRect();
  const onward = key === "ArrowDown" ? list.slice(at + 1) : list.slice(0, at).reverse();
  let row = null;
  let best = null;
  for (const other of onward) {
    const place = other.closest(".face").getBoundingClientRect();
    if (Math.abs(place.top - top) < 4) continue;
    if (row === null) row = place.top;
    if (Math.abs(place.top - row) > 4) break;
    if (best === null || Math.abs(place.left - left) < best.off) best = { other, off: Math.abs(place.left - left) };
  }
  return best?.other;
}

function keysOn() {
  try { return localStorage.getItem("faceindex-keys") !== "off"; } catch { return true; }
}

function ready() {
  last = null;
  for (const button of all("[data-open]")) button.hidden = false;
  const list = boxes();
  if (list.length) stopAt(list[0]);
  update();
  one("#keys-on").checked = keysOn();
}

document.addEventListener("DOMContentLoaded", ready);

// Who types a name before the next page has come means that page: letters must not fall among the keys.
let typed = null;
document.addEventListener("htmx:beforeSwap", () => {
  const field = document.activeElement;
  typed = field?.matches("[data-name]") && !sent.has(field.form) ? field.value : null;
});
const sent = new WeakSet();
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches("[data-faces]")) sent.add(event.target);
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful) sent.delete(event.target);
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "main") return; // it is told of every piece that was put in
  ready();
  const field = one("[data-name]");
  if (field && typed !== null) {
    field.value = typed;
    field.focus();
  } else {
    (boxes()[0] ?? one("#main")).focus({ preventScroll: true });
  }
  typed = null;
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) one(`#${opener.dataset.open}`).showModal();
  const box = event.target.closest("[data-grid] input[type=checkbox]");
  if (!box) return;
  if (event.shiftKey && last && last !== box) select(last, box, box.checked);
  last = box;
  stopAt(box);
});

// A click with Shift on a label would select the text of the page.
document.addEventListener("mousedown", (event) => {
  if (event.shiftKey && event.target.closest(".face label")) event.preventDefault();
});

document.addEventListener("change", (event) => {
  if (event.target.id === "keys-on") {
    try { localStorage.setItem("faceindex-keys", event.target.checked ? "on" : "off"); } catch { /* for this page only */ }
  }
  update();
});

document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(target)) {
    if (event.key === "Escape") (boxes().find((box) => box.tabIndex === 0) ?? target).focus();
    return;
  }
  if (one("dialog[open]")) return;
  const box = target.closest("[data-grid] input[type=checkbox]");
  if (box && event.key === "Enter") return event.preventDefault(); // it would send the form
  if (box && event.key.startsWith("Arrow")) {
    const next = neighbour(box, event.key);
    event.preventDefault();
    if (!next) return;
    if (event.shiftKey) select(box, next, true);
    last = next;
    stopAt(next);
    next.focus();
    return;
  }
  if (!keysOn()) return;
  if (event.key === "n" && one("[data-name]")) {
    event.preventDefault();
    one("[data-name]").focus();
  } else if (event.key === "a" && boxes().length) {
    const on = boxes().some((other) => !other.checked);
    for (const other of boxes()) other.checked = on;
    update();
  } else if (event.key === "o" && box) {
    one(".source", box.closest(".face"))?.click();
  } else {
    const meant = all("[data-key]").find((element) => element.dataset.key === event.key);
    if (!meant) return;
    event.preventDefault();
    if (meant.matches("form")) meant.requestSubmit();
    else if (!meant.disabled) meant.click();
  }
});

// A box in a photo leads to the field for its name.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-box]");
  if (!link) return;
  setTimeout(() => one("input[name=name]", document.getElementById(link.getAttribute("href").slice(1)))?.focus());
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const form = one("[data-drop]");
    if (!form || !event.dataTransfer) return;
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    if (kind !== "drop" || !event.dataTransfer.files.length) return;
    one("input[type=file]", form).files = event.dataTransfer.files;
    form.requestSubmit();
  });
}
