// Where the bytes are, what moves, what it costs, and why an object is where it is.

import { button, bytes, card, count, el, field, form, notice, show, table, tier } from "./dom.js";
import { admin } from "./server.js";

export async function tiers() {
  const [found, report] = await Promise.all([admin("GET", "admin/tiers"), admin("GET", "admin/tiers/report")]);
  const moves = found.moves;
  show(
    el("h1", {}, "Tiering"),
    el("div", { class: "cards" },
      card("Waiting to move", count(moves.waiting)), card("Moving now", count(moves.under_way.length)),
      card("Put off", count(moves.put_off.length), "", moves.put_off.length ? "warn" : ""),
      card("Moved since the start", bytes(moves.bytes)),
      card("Failed since the start", count(moves.failed), "", moves.failed ? "warn" : "")),
    el("h2", {}, "Where the bytes are"),
    table([["Tier", ([name]) => tier(name)], ["Volumes", ([, held]) => count(held.volumes), "number"], ["Bytes", ([, held]) => bytes(held.bytes), "number"]],
      Object.entries(found.tiers)),
    found.backends.length ? [el("h2", {}, "Cold backends"), rows(found.backends)] : "",
    moves.under_way.length ? [el("h2", {}, "Under way"), rows(moves.under_way)] : "",
    moves.put_off.length ? [el("h2", {}, "Put off"), rows(moves.put_off)] : "",
    el("h2", {}, "What it came to"), weeks(report),
    el("h2", {}, "Why is an object where it is?"), why(),
    button("Look again", tiers),
  );
}

function weeks(report) {
  if (report.mode === "off") return el("p", { class: "soft sheet" }, "Deciding about tiers is off: see [tiering] mode.");
  if (!report.weeks.length) return el("p", { class: "soft sheet" }, `Mode: ${report.mode}. The first report comes after a day.`);
  return el("div", {}, el("p", { class: "soft" }, `Mode: ${report.mode}. Regret is what was spent, divided by the least that hindsight allows.`), rows(report.weeks));
}

// Rows of plain values, each under its own name.
function rows(list) {
  const names = Object.keys(list[0]);
  const cell = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "-"));
  return table(names.map((name) => [name.replaceAll("_", " "), (row) => cell(row[name]), "name"]), list);
}

function why() {
  const told = el("div", {});
  const fields = [field("Bucket", "bucket", { required: true }), field("Key", "key", { required: true, grow: true })];
  const ask = form(fields, "Explain", async ({ bucket, key }) => {
    const found = await admin("GET", `explain/${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`);
    told.replaceChildren(explained(found));
  });
  const move = ["hot", "warm", "cold"].map((to) => button(`Move to ${to}`, async () => {
    const { bucket, key } = Object.fromEntries(new FormData(ask));
    const found = await admin("POST", "admin/tiers/move", { bucket, key, to });
    notice(`${found.queued.length} volumes will move to ${to}`);
  }));
  return el("div", {}, ask, el("div", { class: "row" }, move), told);
}

export function explained(found) {
  return el("div", {}, found.sentence ? el("p", { class: "sheet" }, found.sentence) : "", el("pre", {}, JSON.stringify(found, null, 2)));
}
