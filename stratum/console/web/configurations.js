// Every sub-resource of a bucket as S3 shows it: read, change, remove.

import { button, el, notice, sure } from "./dom.js";
import { s3 } from "./server.js";

const XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

// name: [title, what to begin with, can be deleted]
const KINDS = {
  versioning: ["Versioning", `<VersioningConfiguration ${XMLNS}>\n  <Status>Enabled</Status>\n</VersioningConfiguration>`, false],
  policy: ["Policy", '{\n  "Version": "2012-10-17",\n  "Statement": []\n}', true],
  lifecycle: ["Lifecycle", `<LifecycleConfiguration ${XMLNS}>\n  <Rule>\n    <ID>old-versions</ID>\n    <Status>Enabled</Status>\n    <Filter><Prefix></Prefix></Filter>\n    <NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>\n  </Rule>\n</LifecycleConfiguration>`, true],
  encryption: ["Default encryption", `<ServerSideEncryptionConfiguration ${XMLNS}>\n  <Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\n</ServerSideEncryptionConfiguration>`, true],
  "object-lock": ["Object lock", `<ObjectLockConfiguration ${XMLNS}>\n  <ObjectLockEnabled>Enabled</ObjectLockEnabled>\n</ObjectLockConfiguration>`, false],
  cors: ["CORS", `<CORSConfiguration ${XMLNS}>\n  <CORSRule>\n    <AllowedOrigin>https://example.org</AllowedOrigin>\n    <AllowedMethod>GET</AllowedMethod>\n  </CORSRule>\n</CORSConfiguration>`, true],
  tagging: ["Tags", `<Tagging ${XMLNS}>\n  <TagSet><Tag><Key>team</Key><Value>blue</Value></Tag></TagSet>\n</Tagging>`, true],
  publicAccessBlock: ["Public access block", `<PublicAccessBlockConfiguration ${XMLNS}>\n  <BlockPublicAcls>true</BlockPublicAcls>\n  <IgnorePublicAcls>true</IgnorePublicAcls>\n  <BlockPublicPolicy>true</BlockPublicPolicy>\n  <RestrictPublicBuckets>true</RestrictPublicBuckets>\n</PublicAccessBlockConfiguration>`, true],
  ownershipControls: ["Ownership", `<OwnershipControls ${XMLNS}>\n  <Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>\n</OwnershipControls>`, true],
  acl: ["Access control list", "", false],
  website: ["Website", `<WebsiteConfiguration ${XMLNS}>\n  <IndexDocument><Suffix>index.html</Suffix></IndexDocument>\n</WebsiteConfiguration>`, true],
  notification: ["Notifications", `<NotificationConfiguration ${XMLNS}/>`, false],
  logging: ["Access logging", `<BucketLoggingStatus ${XMLNS}/>`, false],
  requestPayment: ["Requester pays", `<RequestPaymentConfiguration ${XMLNS}>\n  <Payer>BucketOwner</Payer>\n</RequestPaymentConfiguration>`, false],
};

export async function configurations(body, bucket, chosen = "versioning") {
  const kind = KINDS[chosen] ? chosen : "versioning";
  const [title, start, removable] = KINDS[kind];
  const links = Object.entries(KINDS).map(([name, [words]]) =>
    el("a", { href: `#/bucket/${bucket}/configuration/${name}`, "aria-current": name === kind ? "page" : null }, words));
  const current = await read(bucket, kind);
  const editor = el("textarea", { spellcheck: "false", "aria-label": title, value: current ? pretty(current) : start });
  const again = () => configurations(body, bucket, kind);
  body.replaceChildren(
    el("nav", { class: "tabs", "aria-label": "Configurations" }, links),
    el("p", { class: "soft" }, current ? "As it is now:" : "There is none. A beginning:"),
    editor,
    el("div", { class: "row" },
      button("Save", async () => {
        await s3("PUT", bucket, "", { [kind]: "" }, editor.value, { "content-type": kind === "policy" ? "application/json" : "application/xml" });
        notice(`${title} saved`);
        await again();
      }, "main"),
      removable && current && button("Remove", async () => {
        if (!(await sure(`Remove the configuration: ${title}?`))) return;
        await s3("DELETE", bucket, "", { [kind]: "" });
        notice(`${title} removed`);
        await again();
      }, "risky")),
  );
}

async function read(bucket, kind) {
  try {
    const found = await (await s3("GET", bucket, "", { [kind]: "" })).text();
    return saysNothing(found) ? "" : found;
  } catch (error) {
    if (error.status === 404) return "";
    throw error;
  }
}

// Some configurations are always there, without anything in them.
function saysNothing(source) {
  if (!source.trimStart().startsWith("<")) return false;
  return new DOMParser().parseFromString(source, "application/xml").documentElement.childElementCount === 0;
}

// Indented for people; what is saved is what stands in the editor.
function pretty(source) {
  if (!source.trimStart().startsWith("<")) return JSON.stringify(JSON.parse(source), null, 2);
  let depth = 0;
  const lines = source.replace(/^<\?xml[^>]*\?>\s*/, "").replace(/>\s*</g, ">\n<").split("\n");
  return lines.map((line) => {
    if (/^<\//.test(line)) depth -= 1;
    const made = "  ".repeat(Math.max(depth, 0)) + line;
    if (/^<[^!?/][^>]*[^/]>$/.test(line) && !/<\//.test(line)) depth += 1;
    return made;
  }).join("\n");
}
