// What is in a bucket, one page and one folder at a time: look, upload, download, delete, hand out links, move.

import { button, bytes, dialog, el, notice, sure, table, tier, time } from "./dom.js";
import { admin, all, s3, text, upload, xml } from "./server.js";
import { explained } from "./tiers.js";

const PAGE = 200;

export async function objects(body, who, bucket, prefix, versions, from = {}) {
  const again = () => objects(body, who, bucket, prefix, versions, from);
  const found = versions ? await versionPage(bucket, prefix, from) : await objectPage(bucket, prefix, from);
  const next = found.next && button("Next page", () => objects(body, who, bucket, prefix, versions, found.next));
  const first = Object.keys(from).length > 0 && button("First page", () => objects(body, who, bucket, prefix, versions));
  body.replaceChildren(
    crumbs(bucket, prefix, versions),
    versions ? el("span", {}) : dropZone(bucket, prefix, again),
    table(columns(who, bucket, prefix, versions, again), [...found.folders, ...found.rows], "There is nothing below this prefix."),
    el("div", { class: "row" }, first || "", next || ""),
  );
}

async function objectPage(bucket, prefix, from) {
  const query = { "list-type": "2", delimiter: "/", "encoding-type": "url", prefix, "max-keys": PAGE, ...from };
  const page = await xml("GET", bucket, "", query);
  const token = text(page, "NextContinuationToken");
  return { folders: folders(page), rows: all(page, "Contents").map(row), next: token && { "continuation-token": token } };
}

async function versionPage(bucket, prefix, from) {
  const query = { versions: "", delimiter: "/", "encoding-type": "url", prefix, "max-keys": PAGE, ...from };
  const page = await xml("GET", bucket, "", query);
  const rows = [...all(page, "Version"), ...all(page, "DeleteMarker")].map(row);
  rows.sort((one, other) => (one.key === other.key ? (one.modified < other.modified ? 1 : -1) : one.key < other.key ? -1 : 1));
  const more = text(page, "IsTruncated") === "true";
  const next = { "key-marker": decode(text(page, "NextKeyMarker")), "version-id-marker": text(page, "NextVersionIdMarker") };
  return { folders: folders(page), rows, next: more && next };
}

const decode = (name) => decodeURIComponent(name.replaceAll("+", "%20"));

function folders(page) {
  return all(page, "CommonPrefixes").map((found) => ({ folder: decode(text(found, "Prefix")) }));
}

function row(node) {
  return {
    key: decode(text(node, "Key")),
    size: Number(text(node, "Size")),
    modified: text(node, "LastModified"),
    kind: text(node, "StorageClass"),
    version: text(node, "VersionId"),
    latest: text(node, "IsLatest") === "true",
    marker: node.localName === "DeleteMarker",
  };
}

function crumbs(bucket, prefix, versions) {
  const base = `#/bucket/${bucket}/${versions ? "versions" : "objects"}`;
  const parts = prefix.split("/").filter((part, at, list) => at < list.length - 1);
  const links = [el("a", { href: base }, bucket)];
  parts.forEach((part, at) => {
    const path = parts.slice(0, at + 1).map(encodeURIComponent).join("/");
    links.push(" / ", el("a", { href: `${base}/${path}/` }, part || "(empty)"));
  });
  return el("div", { class: "crumbs" }, links);
}

function columns(who, bucket, prefix, versions, again) {
  const open = (found) => `#/bucket/${bucket}/${versions ? "versions" : "objects"}/${found.folder.split("/").map(encodeURIComponent).join("/")}`;
  const name = (found) => found.folder
    ? el("a", { href: open(found) }, found.folder.slice(prefix.length))
    : button(found.key.slice(prefix.length) || "(this prefix itself)", () => details(who, bucket, found, again), "link");
  const shown = [
    ["Name", name, "name"],
    ["Size", (found) => (found.folder || found.marker ? "" : bytes(found.size)), "number"],
    ["Modified", (found) => (found.folder ? "" : time(found.modified))],
  ];
  if (versions) shown.push(["Version", (found) => (found.folder ? "" : `${found.marker ? "delete marker" : found.version}${found.latest ? " (latest)" : ""}`), "name"]);
  else shown.push(["Class", (found) => found.kind || ""]);
  shown.push(["", (found) => (found.folder ? "" : el("span", {},
    !found.marker && button("Download", () => download(bucket, found)), " ",
    button("Delete", () => remove(bucket, found, versions, again), "risky"))), "acts"]);
  return shown;
}

async function download(bucket, found) {
  const { url } = await admin("POST", "link", { bucket, key: found.key, version: found.version, seconds: 300, download: true });
  el("a", { href: url, download: "" }).click();
}

async function remove(bucket, found, versions, again) {
  const question = versions ? `Delete this version of ${found.key} for good?` : `Delete ${found.key}?`;
  if (!(await sure(question))) return;
  await s3("DELETE", bucket, found.key, versions ? { versionId: found.version } : {});
  notice(`${found.key} was deleted`);
  await again();
}

function dropZone(bucket, prefix, again) {
  const files = el("input", { type: "file", multiple: true, "aria-label": "Files to upload" });
  const bar = el("progress", { max: "1", hidden: true });
  const zone = el("div", { class: "drop row tight" }, "Drop files here, or choose some:", files, bar);
  const send = async (list) => {
    bar.hidden = false;
    for (const file of list) {
      notice(`Uploading ${file.name}`);
      await upload(bucket, prefix + (file.webkitRelativePath || file.name), file, (done, total) => (bar.value = total ? done / total : 1));
    }
    notice(`${list.length} uploaded`);
    await again();
  };
  const start = (list) => send(Array.from(list)).catch((error) => { bar.hidden = true; notice(error.message, true); });
  files.addEventListener("change", () => start(files.files));
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); start(event.dataTransfer.files); });
  return zone;
}

const HEADERS = ["etag", "content-type", "last-modified", "x-amz-version-id", "x-amz-storage-class", "x-stratum-tier",
  "x-stratum-tier-reason", "x-amz-server-side-encryption", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date",
  "x-amz-object-lock-legal-hold", "x-amz-replication-status", "x-amz-tagging-count", "cache-control"];

async function details(who, bucket, found, again) {
  const version = found.version ? { versionId: found.version } : {};
  if (found.marker) return dialog(found.key, el("p", {}, "A delete marker: the key looks deleted. Deleting this version brings back the one before."));
  const head = await s3("HEAD", bucket, found.key, version);
  const pairs = Array.from(head.headers).filter(([name]) => HEADERS.includes(name) || name.startsWith("x-amz-meta-"));
  const box = dialog(found.key,
    table([["Header", (pair) => pair[0]], ["Value", (pair) => (pair[0] === "x-stratum-tier" ? tier(pair[1]) : pair[1]), "name"]],
      [["size", bytes(Number(head.headers.get("content-length")))], ...pairs]),
    el("div", { class: "row tight" },
      button("Link for an hour", () => link(box, bucket, found, 3600)), button("Link for a week", () => link(box, bucket, found, 604800)),
      who.root && button("Why this tier?", () => explain(box, bucket, found)),
      who.root && ["hot", "warm", "cold"].map((to) => button(`Move to ${to}`, () => move(bucket, found, to)))));
}

async function link(box, bucket, found, seconds) {
  const { url } = await admin("POST", "link", { bucket, key: found.key, version: found.version, seconds });
  box.append(el("pre", {}, url));
}

async function explain(box, bucket, found) {
  const path = `explain/${bucket}/${found.key.split("/").map(encodeURIComponent).join("/")}`;
  const told = await admin("GET", path + (found.version ? `?versionId=${encodeURIComponent(found.version)}` : ""));
  box.append(explained(told));
}

async function move(bucket, found, to) {
  const told = await admin("POST", "admin/tiers/move", { bucket, key: found.key, to, version: found.version });
  notice(`${told.queued.length} volumes will move to ${to}`);
}
