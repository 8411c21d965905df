// What a bucket says about the tiers of its objects.

import { button, choice, el, field, form, notice } from "./dom.js";
import { admin } from "./server.js";

const MODES = [["", "as the server"], ["auto", "decide and move"], ["observe", "decide, but move nothing"], ["off", "leave alone"]];
const PINS = [["", "none"], ["hot", "hot"], ["warm", "warm"], ["cold", "cold"]];

export async function tiering(body, bucket) {
  const path = `admin/tiers/policy/${bucket}`;
  const found = await admin("GET", path);
  const again = () => tiering(body, bucket);
  body.replaceChildren(
    form([
      choice("Mode", "mode", MODES, found.mode),
      choice("Pinned to", "pin", PINS, found.pin),
      choice("Cold", "no_cold", [["", "allowed"], ["yes", "never"]], found.no_cold ? "yes" : ""),
      field("First byte within, in ms; 0: any", "max_latency_ms", { inputmode: "decimal", value: found.max_latency_ms }),
    ], "Save", async (given) => {
      await admin("PUT", path, { mode: given.mode, pin: given.pin, no_cold: given.no_cold === "yes", max_latency_ms: Number(given.max_latency_ms) });
      notice("What the bucket says about tiers was saved");
      await again();
    }),
    el("div", { class: "row" }, button("Say nothing", async () => {
      await admin("DELETE", path);
      await again();
    })),
  );
}
