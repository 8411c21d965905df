// The buckets that whoever is logged in may list; making and deleting them.

import { button, bytes, count, el, field, form, notice, show, sure, table, time } from "./dom.js";
import { admin, all, s3, text, xml } from "./server.js";

export async function buckets(who) {
  const found = all(await xml("GET", ""), "Bucket").map((row) => ({ name: text(row, "Name"), made: text(row, "CreationDate") }));
  const usage = who.root ? await usageOf() : {};
  const again = () => buckets(who);
  const columns = [
    ["Name", (row) => el("a", { href: `#/bucket/${row.name}` }, row.name), "name"],
    ["Created", (row) => time(row.made)],
  ];
  if (who.root) {
    columns.push(["Objects", (row) => shown(usage[row.name]?.objects, count), "number"]);
    columns.push(["Size", (row) => shown(usage[row.name]?.bytes, bytes), "number"]);
  }
  columns.push(["", (row) => button("Delete", () => remove(row.name, again), "risky"), "acts"]);
  show(
    el("h1", {}, "Buckets"),
    form([field("New bucket", "name", { required: true, minlength: 3, maxlength: 63, pattern: "[a-z0-9][a-z0-9.\\-]+", grow: true })],
      "Create", async ({ name }) => {
        await s3("PUT", name);
        notice(`${name} was made`);
        await again();
      }),
    table(columns, found, "There are no buckets yet."),
  );
}

async function usageOf() {
  const { buckets } = await admin("GET", "admin/quotas");
  return Object.fromEntries(buckets.map((row) => [row.name, row]));
}

function shown(value, as) {
  return value === undefined ? "-" : as(value);
}

async function remove(name, again) {
  if (!(await sure(`Delete the bucket ${name}? It must be empty.`))) return;
  await s3("DELETE", name);
  notice(`${name} was deleted`);
  await again();
}
