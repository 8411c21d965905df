// How the store is: doors, redundancy, disks, what it holds.

import { bytes, card, count, el, show, table, time } from "./dom.js";
import { admin } from "./server.js";

const KINDS = { healthy: "good", degraded: "warn", "read-only": "bad" };

export async function overview() {
  const found = await admin("GET", "admin/status");
  const total = sum(found.disks, "total_bytes");
  const free = sum(found.disks, "free_bytes");
  const serving = found.disks.filter((disk) => disk.in_service).length;
  show(
    el("h1", {}, "Overview"),
    el("div", { class: "cards" },
      card("State", found.state, "", KINDS[found.state]),
      card("Disks in service", `${serving} of ${found.disks.length}`, `code ${found.code}`, serving < found.disks.length ? "warn" : ""),
      card("Free on disks", bytes(free), `of ${bytes(total)} raw`),
      card("Buckets", count(found.counts.buckets)),
      card("Objects and files", count(found.counts.inodes)),
      card("Volumes", count(found.redundancy.volumes), `${count(found.redundancy.volumes_degraded)} degraded`),
      card("Shards to rebuild", count(found.redundancy.shards_to_rebuild), "", found.redundancy.shards_to_rebuild ? "warn" : ""),
      card("Unfinished uploads", count(found.counts.uploads)),
    ),
    el("h2", {}, "Doors"),
    table([["Door", (row) => row[0]], ["Where", (row) => row[1], "name"]], [
      ["S3", found.s3], ["Mount", found.mount || "none"], ["Console", found.console || "none"],
      ["Version", found.version], ["Running since", time(found.since)], ["Region", found.region],
    ]),
    el("h2", {}, "Services since the start"),
    table([["What", (row) => row[0].replaceAll("_", " ")], ["Count", (row) => count(row[1]), "number"]],
      Object.entries(found.services)),
  );
}

function sum(rows, name) {
  return rows.reduce((total, row) => total + (row[name] || 0), 0);
}
