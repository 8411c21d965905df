"""boto3, as its documentation says: put, get, multipart, ranges, copy, presigned URLs, conditional put, pages."""

import contextlib
import hashlib
import os
import sys
import urllib.request
from pathlib import Path

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20
bucket, folder = sys.argv[1], Path(sys.argv[2])
keys = {"small.txt": b"hello", "empty": b"", "a/b c/ü+%&.bin": os.urandom(100_000)}

with contextlib.suppress(ImportError):
    import awscrt

    print(f"awscrt {awscrt.__version__}")
print(f"version boto3 {boto3.__version__}, botocore {botocore.__version__}")

s3 = boto3.client("s3")
s3.create_bucket(Bucket=bucket)
for key, body in keys.items():
    s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"who": "boto3"})
    answer = s3.get_object(Bucket=bucket, Key=key)
    assert answer["Body"].read() == body and answer["Metadata"] == {"who": "boto3"}, key

big = folder / "big.bin"
big.write_bytes(os.urandom(20 * MIB))
s3.upload_file(str(big), bucket, "big.bin")
s3.download_file(bucket, "big.bin", str(folder / "back.bin"))
assert hashlib.sha256(big.read_bytes()).digest() == hashlib.sha256((folder / "back.bin").read_bytes()).digest()
part = s3.get_object(Bucket=bucket, Key="big.bin", Range="bytes=8388600-8388700")["Body"].read()
assert part == big.read_bytes()[8388600:8388701]
with big.open("rb") as file:
    s3.put_object(Bucket=bucket, Key="streamed.bin", Body=file)
assert s3.head_object(Bucket=bucket, Key="streamed.bin")["ContentLength"] == 20 * MIB

if "crc64nvme" in sys.argv:  # what aws-cli v2 sends: it brings awscrt and takes this checksum
    with big.open("rb") as file:
        s3.upload_fileobj(file, bucket, "crc64.bin", ExtraArgs={"ChecksumAlgorithm": "CRC64NVME"})
    head = s3.head_object(Bucket=bucket, Key="crc64.bin", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] and head["ChecksumType"] == "FULL_OBJECT"
    with open(folder / "crc64.bin", "wb") as file:
        s3.download_fileobj(bucket, "crc64.bin", file)
    assert (folder / "crc64.bin").read_bytes() == big.read_bytes()

s3.copy({"Bucket": bucket, "Key": "big.bin"}, bucket, "copy.bin")
assert s3.get_object(Bucket=bucket, Key="copy.bin")["Body"].read() == big.read_bytes()

for signed in (s3, boto3.client("s3", config=Config(signature_version="s3v4"))):  # by default version 2 in us-east-1
    url = signed.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "presigned"})
    urllib.request.urlopen(urllib.request.Request(url, b"by URL", {"Content-Type": ""}, method="PUT")).read()
    url = signed.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "presigned"})
    assert urllib.request.urlopen(url).read() == b"by URL"
    s3.delete_object(Bucket=bucket, Key="presigned")

try:
    s3.put_object(Bucket=bucket, Key="small.txt", Body=b"other", IfNoneMatch="*")
except ClientError as error:
    assert error.response["Error"]["Code"] == "PreconditionFailed", error
else:
    raise AssertionError("If-None-Match: * replaced an object")

pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
assert names == sorted(names) and set(keys) < set(names), names
gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in names]})
assert len(gone["Deleted"]) == len(names)
s3.delete_bucket(Bucket=bucket)
