"""s3fs (fsspec), a file system by its own verbs: write in blocks, read by ranges, copy, move, exclusive create."""

import os
import sys

import s3fs

bucket = sys.argv[1]
print(f"version s3fs {s3fs.__version__}")

fs = s3fs.S3FileSystem()
fs.mkdir(bucket)
body = os.urandom(12_345_678)
with fs.open(f"{bucket}/dir/big.bin", "wb") as file:
    for start in range(0, len(body), 1_000_000):
        file.write(body[start : start + 1_000_000])
assert fs.cat(f"{bucket}/dir/big.bin") == body
with fs.open(f"{bucket}/dir/big.bin", "rb") as file:
    file.seek(5_000_000)
    assert file.read(1000) == body[5_000_000:5_001_000]
fs.pipe({f"{bucket}/many/{n}": str(n).encode() for n in range(50)})
assert fs.cat_file(f"{bucket}/many/7") == b"7"
assert len(fs.find(f"{bucket}/many")) == 50
assert fs.ls(bucket, detail=False, refresh=True) == [f"{bucket}/dir", f"{bucket}/many"]
with fs.open(f"{bucket}/text", "w") as file:
    file.write("grüße")
with fs.open(f"{bucket}/text", "r") as file:
    assert file.read() == "grüße"
fs.cp(f"{bucket}/dir/big.bin", f"{bucket}/dir/copy.bin")
fs.mv(f"{bucket}/dir/copy.bin", f"{bucket}/dir/moved.bin")
assert fs.info(f"{bucket}/dir/moved.bin")["size"] == len(body) and not fs.exists(f"{bucket}/dir/copy.bin")
try:
    with fs.open(f"{bucket}/text", "xb") as file:
        file.write(b"other")
except OSError:  # s3fs turns PreconditionFailed into EINVAL
    assert fs.cat(f"{bucket}/text") == "grüße".encode()
else:
    raise AssertionError("mode x replaced a file")
fs.rm(bucket, recursive=True)
assert not fs.exists(bucket)
