// Who may use the store: users, their access keys, their policies.

import { button, dialog, el, field, form, notice, show, sure, table, time } from "./dom.js";
import { admin } from "./server.js";
import { quota } from "./quota.js";

export async function users(who) {
  const rows = await admin("GET", "admin/users");
  const again = () => users(who);
  show(
    el("h1", {}, "Users"),
    form([field("Name", "name", { required: true, maxlength: 64 }), field("E-mail (optional)", "email", { type: "email" })],
      "Add", async (given) => {
        await admin("POST", "admin/users", given);
        notice(`${given.name} was added`);
        await again();
      }),
    table([
      ["Name", (row) => el("a", { href: `#/user/${encodeURIComponent(row.user)}` }, row.name), "name"],
      ["Canonical id", (row) => row.user, "name"],
      ["E-mail", (row) => row.email || "-"],
      ["Policies", (row) => row.policies.join(", ") || "-"],
      ["Created", (row) => time(row.created)],
      ["", (row) => button("Delete", () => remove(row, again), "risky"), "acts"],
    ], rows, "There are no users yet: only the root credential."),
    el("h2", {}, "The operator's own keys"),
    await keysOf(""),
  );
}

async function remove(row, again) {
  if (!(await sure(`Delete the user ${row.name} and its keys?`, row.name))) return;
  await admin("POST", "admin/users/delete", { user: row.user });
  notice(`${row.name} was deleted`);
  await again();
}

export async function user(who, id) {
  const found = (await admin("GET", "admin/users")).find((row) => row.user === id);
  if (!found) throw new Error("There is no such user.");
  const limits = el("div", {});
  show(
    el("h1", {}, found.name),
    el("p", { class: "soft" }, `${found.user} ${found.email}`),
    el("h2", {}, "Access keys"), await keysOf(id),
    el("h2", {}, "Policies"), await policiesOf(id),
    el("h2", {}, "Quota"), limits,
  );
  await quota(limits, "user", id);
}

async function keysOf(id) {
  const rows = (await admin("GET", "admin/keys")).filter((row) => row.user === id);
  const box = el("div", {});
  const again = async () => box.replaceWith(await keysOf(id));
  box.append(
    form([field("What the key is for", "purpose", { maxlength: 64, grow: true })], "Make a key", async ({ purpose }) => {
      const made = await admin("POST", "admin/keys", { name: purpose, user: id });
      dialog("The secret key is shown only this once",
        el("pre", {}, `export AWS_ACCESS_KEY_ID=${made.access_key}\nexport AWS_SECRET_ACCESS_KEY=${made.secret_key}`));
      await again();
    }),
    table([
      ["Access key", (row) => row.access_key], ["For", (row) => row.name || "-", "name"], ["Created", (row) => time(row.created)],
      ["", (row) => button("Delete", async () => {
        if (!(await sure(`Take away the access of ${row.access_key}?`))) return;
        await admin("DELETE", `admin/keys/${encodeURIComponent(row.access_key)}`);
        await again();
      }, "risky"), "acts"],
    ], rows, "No keys."),
  );
  return box;
}

const EXAMPLE = '{\n  "Version": "2012-10-17",\n  "Statement": [\n    {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::a-bucket", "arn:aws:s3:::a-bucket/*"]}\n  ]\n}';

async function policiesOf(id) {
  const found = await admin("POST", "admin/users/policies", { user: id });
  const box = el("div", {});
  const again = async () => box.replaceWith(await policiesOf(id));
  const edit = (name, source) => {
    const title = el("input", { value: name, placeholder: "name", "aria-label": "Name of the policy" });
    const editor = el("textarea", { value: source, spellcheck: "false", "aria-label": "Policy" });
    const shown = dialog("Policy", el("div", { class: "row" }, title), editor, button("Save", async () => {
      await admin("POST", "admin/users/policies/put", { user: id, policy: title.value, text: editor.value });
      shown.close();
      await again();
    }, "main"));
  };
  box.append(
    el("div", { class: "row" }, button("Add a policy", () => edit("", EXAMPLE))),
    table([
      ["Name", ([name, source]) => button(name, () => edit(name, source), "link"), "name"],
      ["", ([name]) => button("Remove", async () => {
        if (!(await sure(`Remove the policy ${name}?`))) return;
        await admin("POST", "admin/users/policies/delete", { user: id, policy: name });
        await again();
      }, "risky"), "acts"],
    ], Object.entries(found), "No policies: this user may do what bucket policies and lists of its own buckets allow."),
  );
  return box;
}
