"""The minio Python client: puts with known and unknown length, stat, ranges, listing, presigned, removal."""

import importlib.metadata
import io
import os
import sys
import urllib.parse
import urllib.request

from minio import Minio
from minio.deleteobjects import DeleteObject

bucket = sys.argv[1]
print(f"version minio {importlib.metadata.version('minio')}")

endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
client = Minio(
    endpoint=endpoint.netloc,
    access_key=os.environ["AWS_ACCESS_KEY_ID"],
    secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    secure=endpoint.scheme == "https",
)
client.make_bucket(bucket_name=bucket)
assert client.bucket_exists(bucket_name=bucket)
body, big = os.urandom(54_321), os.urandom(12 << 20)
client.put_object(bucket_name=bucket, object_name="a/ü b", data=io.BytesIO(body), length=len(body))
client.put_object(bucket_name=bucket, object_name="big", data=io.BytesIO(big), length=-1, part_size=5 << 20)


def read(name, **arguments):
    answer = client.get_object(bucket_name=bucket, object_name=name, **arguments)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


assert read("a/ü b") == body and read("big") == big
assert read("big", offset=6_000_000, length=100) == big[6_000_000:6_000_100]
assert client.stat_object(bucket_name=bucket, object_name="big").size == len(big)
assert [entry.object_name for entry in client.list_objects(bucket_name=bucket, recursive=True)] == ["a/ü b", "big"]
url = client.presigned_get_object(bucket_name=bucket, object_name="a/ü b")
assert urllib.request.urlopen(url).read() == body
errors = list(
    client.remove_objects(bucket_name=bucket, delete_object_list=[DeleteObject("a/ü b"), DeleteObject("big")])
)
assert errors == []
client.remove_bucket(bucket_name=bucket)
