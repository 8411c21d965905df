// The settings in force, as in the settings file.

import { el, show, table } from "./dom.js";
import { admin } from "./server.js";

export async function settings() {
  const rows = Object.entries(await admin("GET", "admin/config"));
  show(
    el("h1", {}, "Settings"),
    el("p", { class: "soft" }, "They are changed in the settings file or by environment variables, and take effect at the next start."),
    table([["Setting", (row) => row[0], "name"], ["Value", (row) => (typeof row[1] === "object" ? JSON.stringify(row[1]) : String(row[1])), "name"]], rows),
  );
}
