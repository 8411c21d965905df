#!/usr/bin/env bash
# Run the public POSIX suite pjdfstest (github.com/pjd/pjdfstest) on a real mount of this tree.
#
#   contrib/pjdfstest/run.sh PATH                 the whole suite, on a mount of the last commit, and the same on the
#                                                 local disk beside it; then docs/compatibility/pjdfstest.md and .json
#                                                 are written
#   contrib/pjdfstest/run.sh PATH --only rename   one group of it (chmod, chown, ..., or chown/00) on the files as they
#                                                 lie in the work tree; no report
#
# PATH is an unmodified checkout of the suite; it is built in a temporary folder and nothing of it is kept. Needs root:
# the suite becomes other users. The tests run in a bucket, since the root of the mount holds buckets alone.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

[ "$(id -u)" = 0 ] || fail "the suite has to run as root: it becomes other users"
[ -x "$ROOT/.venv/bin/python" ] || set_up test
install_packages autoconf automake build-essential perl openssl || say "some of the suite's needs are missing"
exec "$ROOT/.venv/bin/python" "$ROOT/contrib/pjdfstest/run.py" "$@"
