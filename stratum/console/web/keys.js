// Named keys for SSE-KMS. No key is ever shown.

import { button, el, field, form, notice, show, sure, table, time } from "./dom.js";
import { admin } from "./server.js";

export async function keys() {
  const rows = await admin("GET", "admin/kms");
  show(
    el("h1", {}, "Encryption keys"),
    form([field("New key", "name", { required: true })], "Create", async ({ name }) => {
      await admin("POST", "admin/kms", { name });
      notice(`${name} was made`);
      await keys();
    }),
    table([
      ["Name", (row) => row.name, "name"], ["Created", (row) => time(row.created)],
      ["Generations", (row) => row.generations, "number"],
      ["", (row) => button("Rotate", async () => {
        if (!(await sure(`Rotate ${row.name}? What is there stays readable; new objects use the new generation.`))) return;
        await admin("POST", "admin/kms/rotate", { name: row.name });
        await keys();
      }), "acts"],
    ], rows, "No named keys yet; SSE-S3 needs none."),
  );
}
