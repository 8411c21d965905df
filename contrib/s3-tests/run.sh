#!/usr/bin/env bash
# Run the public S3 compatibility suite (ceph/s3-tests) against freshly started servers of this tree.
#
#   contrib/s3-tests/run.sh PATH                        whole test_s3.py and test_headers.py, of the last commit, then
#                                                       docs/compatibility/s3-tests.md and s3-tests.json are written
#   contrib/s3-tests/run.sh PATH --only "versioning and not copy" [--keep-going]
#                                                       a quick look for developers: the files as they lie in the work
#                                                       tree, only tests that match (as pytest -k), no report;
#                                                       without --keep-going it stops at the first failure
#   contrib/s3-tests/run.sh PATH --failures FILE        also write one line a failing test to FILE
#   contrib/s3-tests/run.sh PATH --files test_iam.py    other files of the suite (may be given more than once)
#   contrib/s3-tests/run.sh PATH -- -x -vv              what follows -- goes to pytest; no report
#
# PATH is an unmodified checkout of the suite; nothing of it is kept here. What the suite needs is installed into
# .venv-s3-tests. Every worker (--workers, default 2) has a server of its own, so that tests cannot meet.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

# What the suite's requirements.txt names, and what runs it.
SUITE_PACKAGES="boto3 munch gevent isodate requests pytz httplib2 lxml PyYAML pytest pytest-timeout pytest-xdist"

[ -x "$ROOT/.venv/bin/python" ] || set_up test
# shellcheck disable=SC2086
pip_once "$ROOT/.venv-s3-tests" suite "$SUITE_PACKAGES" $SUITE_PACKAGES
exec "$ROOT/.venv/bin/python" "$ROOT/contrib/s3-tests/run.py" --suite-python "$ROOT/.venv-s3-tests/bin/python" "$@"
