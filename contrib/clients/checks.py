"""The clients: what each does, given nothing but the endpoint and credentials."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from matrix import PROGRAMS, Check, Failed, Round, require, same_trees, sample_tree

MOUNTED_WITHIN_S = 60


def python_in(round_: Round, venv: str) -> Path | str:
    """The interpreter of one of the environments that run.sh makes."""
    return round_.tools / venv / "bin/python"


def boto3(round_: Round) -> None:
    found = round_.tools / "latest/bin/python"
    round_.program(found if found.exists() else sys.executable, PROGRAMS / "boto3_round.py")


def boto3_as_cli_2(round_: Round) -> None:
    round_.program(python_in(round_, "latest"), PROGRAMS / "boto3_round.py", "crc64nvme")


def aioboto3(round_: Round) -> None:
    round_.program(python_in(round_, "ci"), PROGRAMS / "aioboto3_round.py")


def s3fs(round_: Round) -> None:
    round_.program(python_in(round_, "ci"), PROGRAMS / "s3fs_round.py")


def minio(round_: Round) -> None:
    round_.program(python_in(round_, "ci"), PROGRAMS / "minio_round.py")


def parquet(round_: Round) -> None:
    round_.program(python_in(round_, "parquet"), PROGRAMS / "parquet_round.py")


def javascript(round_: Round) -> None:
    script = round_.tools / "js/sdk.mjs"
    if not script.parent.exists():
        raise Failed("run contrib/clients/run.sh, which installs it")
    shutil.copy(PROGRAMS / "sdk.mjs", script)  # node looks for packages beside the program
    round_.program("node", script)


def minio_go(round_: Round) -> None:
    binary = round_.tools / "go/minio_go"
    round_.program(binary, Path(round_.bucket))


def aws_cli(round_: Round) -> None:
    aws = (
        os.environ.get("STRATUM_TEST_AWS") or shutil.which("aws") or str(round_.tools.parent / ".venv-clients/bin/aws")
    )
    round_.version = round_.run(aws, "--version").split()[0]
    tree, url = sample_tree(round_.folder), f"s3://{round_.bucket}"
    round_.run(aws, "s3", "mb", url)
    round_.run(aws, "s3", "sync", "tree", f"{url}/tree", "--only-show-errors")
    round_.run(aws, "s3", "cp", "tree/dir/big.bin", f"{url}/big.bin", "--only-show-errors")
    round_.run(aws, "s3", "sync", f"{url}/tree", "back", "--only-show-errors")
    same_trees(tree, round_.folder / "back")
    require("big.bin" in round_.run(aws, "s3", "ls", "--recursive", url), "ls does not show big.bin")
    round_.run(aws, "s3", "mv", f"{url}/big.bin", f"{url}/moved.bin", "--only-show-errors")
    round_.run(aws, "s3api", "head-object", "--bucket", round_.bucket, "--key", "moved.bin")
    round_.run(aws, "s3", "rb", url, "--force")


def rclone(round_: Round) -> None:
    found = round_.tools / "latest/bin/rclone"
    tool = found if found.exists() else Path(shutil.which("rclone") or "rclone")
    round_.version = round_.run(tool, "version").splitlines()[0]
    tree = sample_tree(round_.folder)
    settings = {"type": "s3", "provider": "Other", "env_auth": "true", "endpoint": round_.endpoint}
    (round_.folder / "rclone.conf").write_text(
        "[stratum]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    base, remote = [tool, "--config", "rclone.conf"], f"stratum:{round_.bucket}"
    round_.run(*base, "mkdir", remote)
    round_.run(*base, "copy", "tree", f"{remote}/tree")
    round_.run(*base, "check", "--download", "tree", f"{remote}/tree")
    (tree / "one").unlink()
    (tree / "new").write_text("new")
    round_.run(*base, "sync", "tree", f"{remote}/tree")
    round_.run(*base, "check", "tree", f"{remote}/tree")
    round_.run(*base, "copy", f"{remote}/tree", "back")
    same_trees(tree, round_.folder / "back")
    if os.geteuid() == 0 and Path("/dev/fuse").exists():
        rclone_mount(round_, base, remote, tree)
    round_.run(*base, "purge", remote)


def rclone_mount(round_: Round, base: list, remote: str, tree: Path) -> None:
    """`rclone mount` of the endpoint: read everything, write a file through it."""
    point = round_.folder / "mnt"
    point.mkdir()
    command = [str(word) for word in [*base, "mount", f"{remote}/tree", point, "--vfs-cache-mode", "writes"]]
    round_.commands.append(round_.shown(command))
    process = subprocess.Popen(command, cwd=round_.folder, env={**round_.environment, "HOME": str(round_.folder)})
    try:
        deadline = time.monotonic() + MOUNTED_WITHIN_S
        while not point.is_mount():
            if time.monotonic() > deadline or process.poll() is not None:
                raise Failed("rclone mount did not come up")
            time.sleep(0.1)
        same_trees(tree, point)
        (point / "written.bin").write_bytes(body := os.urandom(3_000_000))
        while "written.bin" not in round_.attempt(*base, "lsf", f"{remote}/tree").stdout:  # it writes back after 5 s
            require(time.monotonic() < deadline, "rclone mount did not write back")
            time.sleep(1)
    finally:
        subprocess.run(["fusermount3", "-u", str(point)], capture_output=True, check=False)
        process.wait(timeout=30)
    round_.run(*base, "copyto", f"{remote}/tree/written.bin", "written.bin")
    require((round_.folder / "written.bin").read_bytes() == body, "what was written through rclone mount differs")


def s3cmd(round_: Round) -> None:
    tool = next((p for v in ("ci", "latest") if (p := round_.tools / v / "bin/s3cmd").exists()), Path("s3cmd"))
    (round_.folder / "s3cfg").write_text(
        "[default]\n"
        f"access_key = {round_.environment['AWS_ACCESS_KEY_ID']}\n"
        f"secret_key = {round_.environment['AWS_SECRET_ACCESS_KEY']}\n"
        f"host_base = {round_.host}\nhost_bucket = {round_.host}\n"
        f"use_https = {round_.endpoint.startswith('https')}\nmultipart_chunk_size_mb = 5\n"
    )
    base, url = [tool, "-c", "s3cfg", "--no-progress"], f"s3://{round_.bucket}"
    round_.version = round_.run(tool, "--version").strip()
    tree = sample_tree(round_.folder)
    round_.run(*base, "mb", url)
    round_.run(*base, "sync", "tree/", f"{url}/tree/")
    round_.run(*base, "put", "tree/dir/big.bin", f"{url}/big.bin")
    round_.run(*base, "sync", f"{url}/tree/", "back/")
    same_trees(tree, round_.folder / "back")
    round_.run(*base, "get", f"{url}/big.bin", "big.bin")
    require((round_.folder / "big.bin").read_bytes() == (tree / "dir/big.bin").read_bytes(), "big.bin differs")
    require("MD5" in round_.run(*base, "info", f"{url}/big.bin"), "info shows no MD5")
    round_.run(*base, "cp", f"{url}/big.bin", f"{url}/copy.bin")
    require(len(round_.run(*base, "ls", "-r", f"{url}/").splitlines()) > 60, "ls -r shows too little")
    round_.run(*base, "del", "-r", "-f", f"{url}/")
    round_.run(*base, "rb", url)


def s5cmd(round_: Round) -> None:
    tool = os.environ.get("S5CMD") or shutil.which("s5cmd") or "s5cmd"
    round_.version = "s5cmd " + round_.run(tool, "version").strip()
    more = {"S3_ENDPOINT_URL": round_.endpoint}
    tree, url = sample_tree(round_.folder), f"s3://{round_.bucket}"
    round_.run(tool, "mb", url, more=more)
    round_.run(tool, "cp", "tree/", f"{url}/tree/", more=more)
    round_.run(tool, "sync", "tree/", f"{url}/tree/", more=more)
    round_.run(tool, "cp", f"{url}/tree/*", "back/", more=more)
    same_trees(tree, round_.folder / "back")
    require("big.bin" in round_.run(tool, "ls", f"{url}/tree/dir/", more=more), "ls does not show big.bin")
    round_.run(tool, "rm", f"{url}/*", more=more)
    round_.run(tool, "rb", url, more=more)


def restic(round_: Round) -> None:
    tree = sample_tree(round_.folder)
    more = {"RESTIC_PASSWORD": "matrix", "XDG_CACHE_HOME": str(round_.folder / "cache")}
    base = ["restic", "-q", "-r", f"s3:{round_.endpoint}/{round_.bucket}"]
    round_.version = " ".join(round_.run("restic", "version").split()[:2])
    round_.run(*base, "init", more=more)
    round_.run(*base, "backup", "tree", more=more)
    (tree / "new").write_text("new")
    round_.run(*base, "backup", "tree", more=more)
    round_.run(*base, "check", "--read-data", more=more)
    round_.run(*base, "restore", "latest", "--target", "out", more=more)
    same_trees(tree, round_.folder / "out/tree")
    round_.run(*base, "forget", "--keep-last", "1", "--prune", more=more)
    round_.run(*base, "check", "--read-data", more=more)


def duplicity(round_: Round) -> None:
    tree = sample_tree(round_.folder)
    round_.version = round_.run("duplicity", "--version").strip()
    url = f"boto3+s3://{round_.bucket}/backup"
    base = ["duplicity", "--no-encryption", f"--s3-endpoint-url={round_.endpoint}", "--archive-dir=archive"]
    client = python_in(round_, "latest")
    client = client if Path(client).exists() else sys.executable
    round_.run(client, "-c", f"import boto3; boto3.client('s3').create_bucket(Bucket='{round_.bucket}')")
    round_.run(*base, "full", "tree", url)
    (tree / "new").write_text("new")
    round_.run(*base, "incremental", "tree", url)
    round_.run(*base, "verify", "--compare-data", url, "tree")
    shutil.rmtree(round_.folder / "archive")  # a new machine: everything comes from the bucket
    round_.run(*base, "restore", url, "out")
    same_trees(tree, round_.folder / "out")


TERRAFORM = """
terraform {{
  backend "s3" {{
    bucket                      = "{bucket}"
    key                         = "state/terraform.tfstate"
    region                      = "us-east-1"
    endpoints                   = {{ s3 = "{endpoint}" }}
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
  }}
}}

resource "terraform_data" "one" {{
  input = "{word}"
}}
"""


def terraform(round_: Round) -> None:
    """The lock is an object made by a conditional put; while it is there nobody else may plan."""
    client = python_in(round_, "latest")
    client = client if Path(client).exists() else sys.executable
    s3 = [client, "-c", "import sys, boto3; exec(sys.argv[1])"]
    prepare = f"s3 = boto3.client('s3'); b = '{round_.bucket}'; k = 'state/terraform.tfstate.tflock'; "
    round_.version = "Terraform " + json.loads(round_.run("terraform", "version", "-json"))["terraform_version"]
    round_.run(*s3, prepare + "s3.create_bucket(Bucket=b)")
    place = round_.folder / "main.tf"
    place.write_text(TERRAFORM.format(bucket=round_.bucket, endpoint=round_.endpoint, word="first"))
    base = ["terraform"]
    round_.run(*base, "init", "-input=false")
    round_.run(*base, "apply", "-input=false", "-auto-approve")
    lock = '{"ID": "held", "Operation": "test", "Who": "another", "Version": "1", "Created": "2026-01-01T00:00:00Z"}'
    round_.run(*s3, prepare + f"s3.put_object(Bucket=b, Key=k, Body={lock!r}, IfNoneMatch='*')")
    refused = round_.attempt(*base, "plan", "-input=false")
    require(
        refused.returncode != 0 and "412" in refused.stderr, f"a held lock did not stop it: {refused.stderr[-600:]}"
    )
    round_.run(*s3, prepare + "s3.delete_object(Bucket=b, Key=k)")
    place.write_text(TERRAFORM.format(bucket=round_.bucket, endpoint=round_.endpoint, word="second"))
    round_.run(*base, "apply", "-input=false", "-auto-approve")
    require("second" in round_.run(*base, "state", "pull"), "the state in the bucket is not the new one")
    names = "print([e['Key'] for e in s3.list_objects_v2(Bucket=b)['Contents']])"
    require("tflock" not in round_.run(*s3, prepare + names), "the lock was left behind")


ROUND = "put, get, multipart, ranges, listing, presigned, conditional put, delete; bytes compared"
CHECKS = (
    Check("boto3", ROUND, boto3, tls=True),
    Check("aioboto3", "40 concurrent puts and gets, 20 MiB in parts, streamed read", aioboto3, tls=True),
    Check("aws-cli 1", "mb, sync up and down, cp of 20 MiB, mv, s3api, rb --force; sha256 of the trees", aws_cli),
    Check(
        "aws-cli 2 (as)", f"what v2 sends: boto3 with awscrt, CRC64NVME, full-object checksums; {ROUND}", boto3_as_cli_2
    ),
    Check("rclone", "copy, check --download, sync, mount (read all, write); sha256 of the trees", rclone),
    Check("s3cmd", "sync up and down, multipart put, get, info, cp, del", s3cmd),
    Check("s5cmd", "cp, sync, cp back with a wildcard, ls, rm", s5cmd),
    Check("restic", "init, two backups, check --read-data, restore, forget --prune, check --read-data", restic),
    Check("duplicity", "full, incremental, verify --compare-data, restore on a new machine", duplicity),
    Check("s3fs", "write in blocks, seek, many files, copy, move, exclusive create, recursive delete", s3fs, tls=True),
    Check("pyarrow and DuckDB", "Parquet written and read by ranges, with filters", parquet),
    Check("minio-py", "put with known and unknown length, ranges, listing, presigned, bulk delete", minio, tls=True),
    Check("minio-go", "40 MiB with known and unknown length and trailing checksums, ranges, listing", minio_go),
    Check("Terraform", "s3 backend with use_lockfile: apply, a held lock refuses with 412, apply again", terraform),
    Check("JavaScript SDK 3", "put of a stream, lib-storage in parts, presigned, If-None-Match, pages", javascript),
)
