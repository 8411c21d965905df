// The disks of the store.

import { bytes, el, show, table } from "./dom.js";
import { admin } from "./server.js";

export async function disks() {
  const found = await admin("GET", "admin/status");
  show(
    el("h1", {}, "Disks"),
    table([
      ["Slot", (row) => row.slot, "number"],
      ["Path", (row) => row.path, "name"],
      ["State", (row) => el("span", { class: row.in_service ? "good" : "bad" }, row.in_service ? "in service" : row.reason || "out of service")],
      ["Used", (row) => el("meter", { min: "0", max: String(row.total_bytes || 1), value: String(row.total_bytes - row.free_bytes),
        high: String(row.total_bytes * 0.9), title: `${bytes(row.free_bytes)} free` })],
      ["Free", (row) => bytes(row.free_bytes), "number"],
      ["Size", (row) => bytes(row.total_bytes), "number"],
    ], found.disks),
  );
}
