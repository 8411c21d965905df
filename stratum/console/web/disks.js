// The disks of the store: what they hold, adding one, emptying one, taking one away.

import { button, bytes, card, choice, count, el, field, form, notice, show, sure, table, time } from "./dom.js";
import { admin } from "./server.js";

export async function disks() {
  const found = await admin("GET", "admin/disks");
  const moving = found.relocation;
  const room = Object.entries(found.capacity).map(([tier, held]) =>
    card(`Usable, ${tier}`, bytes(held.usable_bytes), `${bytes(held.free_bytes)} free; ${bytes(held.full_code_bytes)} at the full code`));
  show(
    el("h1", {}, "Disks"),
    el("div", { class: "cards" }, room,
      card("Shards moved", count(moving.shards), moving.under_way ? `now from ${moving.under_way.from} to ${moving.under_way.to}` : "none moves now"),
      moving.trouble ? card("Trouble", moving.trouble, "", "warn") : ""),
    el("h2", {}, "Add a disk"),
    form([field("Empty folder on the server, best a file system of its own", "path", { required: true, grow: true }),
      choice("Tier", "tier", [["hot", "hot"], ["warm", "warm"]], "hot")], "Add", async (given) => {
      const made = await admin("POST", "admin/disks", given);
      notice(`Disk ${made.slot} is in service. Write it into the settings, too.`);
      await disks();
    }),
    table([
      ["Slot", (row) => row.slot, "number"],
      ["Path", (row) => row.path || "-", "name"],
      ["Tier", (row) => row.tier],
      ["State", (row) => state(row)],
      ["Used", (row) => el("meter", { min: "0", max: String(row.total_bytes || 1), value: String(row.total_bytes - row.free_bytes),
        high: String(row.total_bytes * 0.9), title: `${bytes(row.free_bytes)} free of ${bytes(row.total_bytes)}` })],
      ["Free", (row) => bytes(row.free_bytes), "number"],
      ["Shards", (row) => count(row.shards ?? 0), "number"],
      ["", (row) => verbs(row), "acts"],
    ], found.disks),
  );
}

function state(row) {
  if (row.leaving_since) return el("span", { class: "warn" }, `being emptied since ${time(row.leaving_since)}`);
  return el("span", { class: row.in_service ? "good" : "bad" }, row.in_service ? "in service" : row.reason || "out of service");
}

function verbs(row) {
  if (!row.leaving_since) return button("Empty", () => drain(row, false), "risky");
  return el("span", {}, button("Keep it", () => drain(row, true)), " ",
    button("Remove", async () => {
      if (!(await sure(`Take disk ${row.slot} out of the store?`))) return;
      await admin("POST", "admin/disks/remove", { slot: row.slot });
      notice(`Disk ${row.slot} is no part of the store any more`);
      await disks();
    }, "risky"));
}

async function drain(row, cancel) {
  if (!cancel && !(await sure(`Move everything from disk ${row.slot} (${row.path}) to the others?`))) return;
  await admin("POST", "admin/disks/drain", { slot: row.slot, cancel });
  await disks();
}
