// Everything that is asked of the server. The session lives in this tab alone and travels as a header, never as a cookie.

const KEPT = "stratum-session";
let session = sessionStorage.getItem(KEPT) || "";

export class Refusal extends Error {
  constructor(status, code, message) {
    super(message || code || `the server answered ${status}`);
    this.status = status;
    this.code = code;
  }
}

async function ask(method, path, body, headers = {}) {
  if (session) headers["x-stratum-session"] = session;
  let found;
  try {
    found = await fetch(path, { method, body, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refusal(0, "Unreachable", "The server does not answer.");
  }
  if (found.status === 401) {
    forget();
    dispatchEvent(new Event("logged-out"));
  }
  return found;
}

// The pages of the console: JSON in, JSON out.
export async function admin(method, path, body) {
  const found = await ask(method, `/-/${path}`, body === undefined ? undefined : JSON.stringify(body));
  const answer = await found.json().catch(() => ({}));
  if (!found.ok) throw new Refusal(found.status, answer.error, answer.message);
  return answer;
}

export async function logIn(given) {
  forget();
  const made = await admin("POST", "session", given);
  session = made.session;
  sessionStorage.setItem(KEPT, session);
}

export async function logOut() {
  await admin("DELETE", "session");
  forget();
}

export function loggedIn() {
  return Boolean(session);
}

function forget() {
  session = "";
  sessionStorage.removeItem(KEPT);
}

const keyPath = (key) => key.split("/").map(encodeURIComponent).join("/");

// S3 itself, as whoever is logged in. query: {name: value}; a value of "" is a bare name.
export function s3Path(bucket, key = "", query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = pairs.map(([name, value]) => encodeURIComponent(name) + (value === "" ? "" : `=${encodeURIComponent(value)}`));
  const path = bucket ? `/-/s3/${bucket}${key ? `/${keyPath(key)}` : ""}` : "/-/s3/";
  return path + (text.length ? `?${text.join("&")}` : "");
}

export async function s3(method, bucket, key = "", query = {}, body = undefined, headers = {}) {
  const found = await ask(method, s3Path(bucket, key, query), body, headers);
  if (found.ok) return found;
  const told = parse(await found.text());
  throw new Refusal(found.status, text(told, "Code"), text(told, "Message"));
}

export async function xml(method, bucket, key, query, body, headers) {
  return parse(await (await s3(method, bucket, key, query, body, headers)).text());
}

function parse(source) {
  return new DOMParser().parseFromString(source || "<Nothing/>", "application/xml");
}

export function all(node, name) {
  return Array.from(node.getElementsByTagNameNS("*", name));
}

export function text(node, name) {
  return all(node, name)[0]?.textContent ?? "";
}

// With progress, which fetch does not tell of uploads.
export function upload(bucket, key, file, progress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("PUT", s3Path(bucket, key));
    request.setRequestHeader("x-stratum-session", session);
    request.setRequestHeader("content-type", file.type || "application/octet-stream");
    request.upload.addEventListener("progress", (event) => progress(event.loaded, event.total));
    request.addEventListener("load", () => {
      if (request.status < 300) done();
      else failed(new Refusal(request.status, "", text(parse(request.responseText), "Message")));
    });
    request.addEventListener("error", () => failed(new Refusal(0, "", "The upload was cut off.")));
    request.send(file);
  });
}
