// The JavaScript SDK v3: put with a stream, an upload in parts (lib-storage), a presigned URL, a conditional put, listing.
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import assert from "node:assert/strict";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const [bucket, folder] = process.argv.slice(2);
const version = createRequire(import.meta.url)("@aws-sdk/client-s3/package.json").version;
console.log(`version @aws-sdk/client-s3 ${version}, node ${process.version}`);

const client = new s3.S3Client({ region: process.env.AWS_DEFAULT_REGION, forcePathStyle: true });
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");
const read = async (Key, more = {}) =>
  Buffer.from(await (await client.send(new s3.GetObjectCommand({ Bucket: bucket, Key, ...more }))).Body.transformToByteArray());

await client.send(new s3.CreateBucketCommand({ Bucket: bucket }));
await client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: "small/ü +.txt", Body: "hello" }));
assert.equal((await read("small/ü +.txt")).toString(), "hello");

const bytes = randomBytes(3_000_000);
writeFileSync(`${folder}/js.bin`, bytes);
await client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: "stream", Body: createReadStream(`${folder}/js.bin`) }));
assert.equal(sha(await read("stream")), sha(bytes));
assert.deepEqual(await read("stream", { Range: "bytes=1000-1999" }), bytes.subarray(1000, 2000));

const big = randomBytes(18_000_000);
await new Upload({ client, params: { Bucket: bucket, Key: "big", Body: Readable.from([big]) } }).done();
assert.equal(sha(await read("big")), sha(big));

const url = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket: bucket, Key: "stream" }));
assert.equal(sha(Buffer.from(await (await fetch(url)).arrayBuffer())), sha(bytes));
const put = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket: bucket, Key: "by-url" }));
assert.equal((await fetch(put, { method: "PUT", body: "by URL" })).status, 200);
assert.equal((await read("by-url")).toString(), "by URL");

await assert.rejects(
  client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: "by-url", Body: "x", IfNoneMatch: "*" })),
  { name: "PreconditionFailed" },
);
const names = [];
for await (const page of s3.paginateListObjectsV2({ client, pageSize: 2 }, { Bucket: bucket })) names.push(...page.Contents.map((each) => each.Key));
assert.deepEqual(names, ["big", "by-url", "small/ü +.txt", "stream"]);
await client.send(new s3.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: names.map((Key) => ({ Key })) } }));
await client.send(new s3.DeleteBucketCommand({ Bucket: bucket }));
