#!/usr/bin/env bash
# Compile stratum/rpc/stratum.proto into stratum/rpc/stratum.desc, which the server loads. Run it after a change.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$ROOT/.venv/bin/python" -m grpc_tools.protoc -I "$ROOT/stratum/rpc" \
    --descriptor_set_out="$ROOT/stratum/rpc/stratum.desc" stratum.proto
