// Where volumes are, what moves, and why.

import { bytes, card, count, el, show, table, tier } from "./dom.js";
import { admin } from "./server.js";

export async function tiers() {
  const found = await admin("GET", "admin/tiers");
  const rows = Object.entries(found).filter(([, value]) => typeof value !== "object");
  show(
    el("h1", {}, "Tiering"),
    el("div", { class: "cards" },
      card("Waiting to move", count(found.moves?.waiting ?? 0)),
      card("Moving now", count(found.moves?.under_way?.length ?? 0))),
    el("h2", {}, "Tiers"),
    table([["Tier", (row) => tier(row.tier || row.name)], ["Volumes", (row) => count(row.volumes ?? 0), "number"], ["Bytes", (row) => bytes(row.bytes), "number"]],
      Array.isArray(found.tiers) ? found.tiers : []),
    rows.length ? table([["What", (row) => row[0]], ["Value", (row) => String(row[1])]], rows) : "",
    el("pre", {}, JSON.stringify(found, null, 2)),
  );
}
