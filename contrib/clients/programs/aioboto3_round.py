"""aioboto3: concurrent puts and gets, an upload in parts, a streamed read."""

import asyncio
import importlib.metadata
import os
import sys
from io import BytesIO

import aioboto3

bucket, version = sys.argv[1], importlib.metadata.version
print(f"version aioboto3 {version('aioboto3')}, aiobotocore {version('aiobotocore')}")


async def main():
    bodies = {f"k/{n}": os.urandom(n * 1_000) for n in range(40)}
    big = os.urandom(20 << 20)
    async with aioboto3.Session().client("s3") as s3:
        await s3.create_bucket(Bucket=bucket)
        await asyncio.gather(*(s3.put_object(Bucket=bucket, Key=k, Body=v) for k, v in bodies.items()))

        async def same(key, body):
            answer = await s3.get_object(Bucket=bucket, Key=key)
            assert await answer["Body"].read() == body, key

        await asyncio.gather(*(same(key, body) for key, body in bodies.items()))
        await s3.upload_fileobj(BytesIO(big), bucket, "big")
        answer = await s3.get_object(Bucket=bucket, Key="big")
        seen = b"".join([piece async for piece in answer["Body"].iter_chunks(1 << 16)])
        assert seen == big
        names = []
        async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7}):
            names += [entry["Key"] for entry in page.get("Contents", [])]
        assert names == sorted([*bodies, "big"])
        await s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in names]})
        await s3.delete_bucket(Bucket=bucket)


asyncio.run(main())
