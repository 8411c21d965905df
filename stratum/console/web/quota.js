// How much a bucket or a user may hold, and holds.

import { button, bytes, card, count, el, field, form, notice } from "./dom.js";
import { admin } from "./server.js";

const UNITS = { KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };

// kind: "bucket" or "user"; name: its name, or canonical id
export async function quota(body, kind, name) {
  const found = await admin("GET", "admin/quotas");
  const rows = kind === "bucket" ? found.buckets : found.users;
  const row = rows.find((each) => (kind === "bucket" ? each.name : each.owner) === name) || { bytes: 0, objects: 0 };
  const again = () => quota(body, kind, name);
  const set = (bytes_max, objects_max) => admin("POST", "admin/quotas", { [kind]: name, bytes_max, objects_max });
  const most = (limit, as) => (limit === null || limit === undefined ? "no limit" : `of at most ${as(limit)}`);
  body.replaceChildren(
    found.complete ? "" : el("p", { class: "warn" }, "What was there before is still being counted."),
    el("div", { class: "cards" },
      card("Bytes", bytes(row.bytes), most(row.bytes_max, bytes)), card("Objects", count(row.objects), most(row.objects_max, count))),
    form([
      field("At most bytes, as in 500 GB or 2 TiB; empty: no limit", "bytes_max", { grow: true, value: row.bytes_max ?? "" }),
      field("At most objects; empty: no limit", "objects_max", { grow: true, inputmode: "numeric", value: row.objects_max ?? "" }),
    ], "Set", async (given) => {
      await set(amount(given.bytes_max), amount(given.objects_max));
      notice("The quota was set");
      await again();
    }),
    el("div", { class: "row" }, button("No limits", async () => {
      await set(null, null);
      notice("The quota was taken away");
      await again();
    })),
  );
}

function amount(text) {
  const match = text.trim().match(/^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$/);
  if (!text.trim()) return null;
  const unit = match && (match[2] === "" || match[2] === "B" ? 1 : UNITS[match[2]]);
  if (!unit) throw new Error(`${text} is no amount: a number, and perhaps KB, MB, GB, TB or KiB, MiB, GiB, TiB`);
  return Math.floor(Number(match[1]) * unit);
}
