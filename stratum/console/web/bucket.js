// One bucket: what is in it, and how it is configured.

import { el, show } from "./dom.js";
import { objects } from "./objects.js";
import { configurations } from "./configurations.js";
import { quota } from "./quota.js";
import { tiering } from "./tiering.js";

const TABS = { objects: "Objects", versions: "All versions", configuration: "Configuration", quota: "Quota", tiering: "Tiering" };
const FOR_ROOT = ["quota", "tiering"];

export async function bucket(who, name, tab = "objects", ...rest) {
  const links = Object.entries(TABS)
    .filter(([key]) => who.root || !FOR_ROOT.includes(key))
    .map(([key, title]) => el("a", { href: `#/bucket/${name}/${key}`, "aria-current": key === tab ? "page" : null }, title));
  const body = el("div", {});
  show(el("h1", {}, name), el("nav", { class: "tabs", "aria-label": "Bucket" }, links), body);
  if (tab === "configuration") await configurations(body, name, rest[0]);
  else if (tab === "quota") await quota(body, "bucket", name);
  else if (tab === "tiering") await tiering(body, name);
  else await objects(body, who, name, rest.join("/"), tab === "versions");
}
