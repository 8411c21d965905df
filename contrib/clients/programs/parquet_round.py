"""Parquet by ranges: written and read by pyarrow's own S3 client (the AWS C++ SDK), read by DuckDB through s3fs."""

import os
import sys
import urllib.parse

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import s3fs
from pyarrow import fs

bucket = sys.argv[1]
print(f"version pyarrow {pa.__version__}, DuckDB {duckdb.__version__}, s3fs {s3fs.__version__}")

endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
arrow = fs.S3FileSystem(
    endpoint_override=endpoint.netloc,
    scheme=endpoint.scheme,
    region="us-east-1",
    allow_bucket_creation=True,
    allow_bucket_deletion=True,
)
arrow.create_dir(bucket)
rows = 300_000
table = pa.table({"id": range(rows), "word": [f"w{n % 1000}" for n in range(rows)], "x": [n / 7 for n in range(rows)]})
pq.write_table(table, f"{bucket}/one.parquet", filesystem=arrow, row_group_size=30_000)
few = pq.read_table(f"{bucket}/one.parquet", filesystem=arrow, columns=["x"], filters=[("id", ">=", rows - 10)])
assert few.column("x").to_pylist() == [n / 7 for n in range(rows - 10, rows)]
assert pq.read_table(f"{bucket}/one.parquet", filesystem=arrow).equals(table)

duck = duckdb.connect()
duck.register_filesystem(s3fs.S3FileSystem())
answer = duck.execute(
    f"select count(*), sum(id) from read_parquet('s3://{bucket}/one.parquet') where id % 3 = 0"
).fetchone()
assert answer == (rows // 3, sum(range(0, rows, 3))), answer
duck.execute(f"copy (select 42 as answer) to 's3://{bucket}/made.parquet' (format parquet)")
assert duck.execute(f"select * from read_parquet('s3://{bucket}/made.parquet')").fetchone() == (42,)
arrow.delete_dir(bucket)
