// How much a bucket or a user may hold.

import { el } from "./dom.js";

export async function quota(body) {
  body.replaceChildren(el("p", { class: "soft" }, "No quotas yet."));
}
