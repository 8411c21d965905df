// Elements from plain values. Text is always text: nothing that a key or a header says becomes markup.

export function el(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    made.append(child instanceof Node ? child : String(child));
  }
  return made;
}

export function show(...children) {
  const page = document.getElementById("page");
  page.replaceChildren(...children.flat(Infinity).filter((child) => child));
}

let hiding = 0;

export function notice(text, bad = false) {
  const box = document.getElementById("notice");
  box.textContent = text;
  if (!text) return void (box.className = "");
  box.className = bad ? "shown bad-news" : "shown";
  clearTimeout(hiding);
  hiding = setTimeout(() => (box.className = ""), bad ? 9000 : 4000);
}

export function button(text, act, kind = "") {
  const made = el("button", { type: "button", class: kind }, text);
  made.addEventListener("click", () => during(made, act));
  return made;
}

// One act at a time per button, and every failure is told.
export async function during(button, act) {
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    notice(error.message, true);
  } finally {
    button.disabled = false;
  }
}

export function form(fields, text, act) {
  const send = el("button", { class: "main", type: "submit" }, text);
  const made = el("form", { class: "row" }, fields, send);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    during(send, () => act(Object.fromEntries(new FormData(made)), made));
  });
  return made;
}

export function field(label, name, given = {}) {
  return el("label", { class: given.grow ? "grow" : "" }, label, el("input", { name, ...given, grow: null }));
}

export function choice(label, name, values, chosen) {
  const options = values.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  return el("label", {}, label, el("select", { name }, options));
}

// columns: [title, row => content, class]
export function table(columns, rows, empty = "There is nothing here yet.") {
  if (!rows.length) return el("p", { class: "soft sheet" }, empty);
  const head = el("tr", {}, columns.map(([title, , kind]) => el("th", { class: kind || "" }, title)));
  const body = rows.map((row) => el("tr", {}, columns.map(([, cell, kind]) => el("td", { class: kind || "" }, cell(row)))));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

export function card(title, value, more = "", kind = "") {
  return el("div", { class: "card" }, el("span", { class: "soft" }, title), el("b", { class: kind }, value), more);
}

export function tier(name) {
  return el("span", { class: `tier ${name}` }, name || "-");
}

export function dialog(title, ...children) {
  const box = el("dialog", {}, el("h2", {}, title), ...children);
  const close = button("Close", () => box.close());
  box.append(el("div", { class: "row" }, close));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

// Something that cannot be undone needs its name typed, or at least a yes.
export function sure(question, name = "") {
  return new Promise((decide) => {
    const typed = el("input", { name: "typed", autocomplete: "off", class: "grow" });
    const box = el("dialog", {}, el("h2", {}, question));
    if (name) box.append(el("p", {}, "Type ", el("b", {}, name), " to go on."), el("div", { class: "row" }, typed));
    const finish = (answer) => { box.remove(); decide(answer); };
    const yes = el("button", { class: "risky", type: "button", onclick: () => {
      if (!name || typed.value === name) finish(true);
      else typed.focus();
    } }, "Yes, do it");
    box.append(el("div", { class: "row" }, yes, el("button", { type: "button", onclick: () => finish(false) }, "No")));
    box.addEventListener("cancel", () => finish(false));
    document.body.append(box);
    box.showModal();
  });
}

export function bytes(count) {
  if (count === undefined || count === null) return "-";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

export function count(number) {
  return Number(number).toLocaleString();
}

// when: ISO text, seconds or nanoseconds since the epoch
export function time(when) {
  if (!when) return "-";
  const value = typeof when === "number" ? new Date(when > 1e14 ? when / 1e6 : when * 1000) : new Date(when);
  return value.toLocaleString();
}
