#!/usr/bin/env bash
# Start Stratum: contrib/run.sh [MOUNTPOINT] [option of stratumfs]...     (default /mnt/stratum)
# The first run installs what is missing (as root or with sudo); later runs start in seconds. Ctrl-C ends it.
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

MOUNTPOINT=/mnt/stratum
case "${1:-}" in
    '' | -*) ;;
    *)
        MOUNTPOINT="$(realpath -sm -- "$1")"
        shift
        ;;
esac

set_up
clear_dead_mount "$MOUNTPOINT"
if [ ! -d "$MOUNTPOINT" ]; then
    mkdir -p "$MOUNTPOINT" 2>/dev/null ||
        as_root install -d -o "$(id -u)" -g "$(id -g)" "$MOUNTPOINT" || fail "cannot make $MOUNTPOINT"
fi
exec "$ROOT/.venv/bin/stratumfs" --guide "$@" "$MOUNTPOINT"
