// Which page is shown: #/page/argument/argument. Logging in comes first.

import { button, el, field, form, notice, show } from "./dom.js";
import { admin, logIn, logOut, loggedIn } from "./server.js";
import { overview } from "./overview.js";
import { buckets } from "./buckets.js";
import { bucket } from "./bucket.js";
import { users, user } from "./users.js";
import { tiers } from "./tiers.js";
import { disks } from "./disks.js";
import { keys } from "./keys.js";
import { settings } from "./settings.js";

// name: [title, page, for root only]
const PAGES = {
  overview: ["Overview", overview, true],
  buckets: ["Buckets", buckets, false],
  bucket: ["", bucket, false],
  tiers: ["Tiering", tiers, true],
  disks: ["Disks", disks, true],
  users: ["Users", users, true],
  user: ["", user, true],
  keys: ["Encryption", keys, true],
  settings: ["Settings", settings, true],
};

let who = null;

async function route() {
  const ticket = location.hash.match(/^#ticket=(.+)$/);
  if (ticket) {
    history.replaceState(null, "", "#/");
    await logIn({ ticket: ticket[1] }).catch((error) => notice(error.message, true));
    who = null;
  }
  if (!loggedIn()) return showLogIn();
  try {
    who ??= await admin("GET", "session");
  } catch (error) {
    return showLogIn(error.message);
  }
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const known = PAGES[name] && (who.root || !PAGES[name][2]) ? name : who.root ? "overview" : "buckets";
  showHead(known);
  notice("");
  const page = document.getElementById("page");
  page.setAttribute("aria-busy", "true");
  try {
    await PAGES[known][1](who, ...rest);
  } catch (error) {
    show(el("h1", {}, "This page cannot be shown"), el("p", { class: "bad" }, error.message), button("Try again", route));
  }
  page.removeAttribute("aria-busy");
}

function showHead(current) {
  const owner = { user: "users", bucket: "buckets" }[current] || current;
  const links = Object.entries(PAGES)
    .filter(([, [title, , root]]) => title && (who.root || !root))
    .map(([name, [title]]) => el("a", { href: `#/${name}`, "aria-current": name === owner ? "page" : null }, title));
  const out = button("Log out", async () => {
    await logOut();
    who = null;
    route();
  });
  document.getElementById("head").replaceChildren(
    el("span", { class: "brand" }, el("img", { src: "web/mark.svg", alt: "" }), "Stratum"),
    el("nav", { "aria-label": "Pages" }, links),
    el("span", { class: "soft" }, who.name),
    out,
  );
}

function showLogIn(why = "") {
  who = null;
  document.getElementById("head").replaceChildren();
  const fields = [
    field("Access key", "access_key", { required: true, autocomplete: "username", autofocus: true }),
    field("Secret key", "secret_key", { type: "password", required: true, autocomplete: "current-password" }),
  ];
  const made = form(fields, "Log in", async (given) => {
    await logIn(given);
    route();
  });
  made.className = "login sheet";
  made.prepend(el("h1", {}, "Stratum"));
  made.append(
    el("p", { class: "bad", role: "alert" }, why),
    el("p", { class: "soft" }, "On the server, `stratum console` prints a link that logs you in."),
  );
  show(made);
}

addEventListener("hashchange", route);
addEventListener("logged-out", () => showLogIn("Please log in again."));
route();
