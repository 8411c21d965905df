#!/usr/bin/env bash
# Walk through the web console with a real browser against a real server; writes docs/evidence/console.md and pictures.
#
#   contrib/console/run.sh               installs Chromium from Debian and its driver's client into .clients
#   contrib/console/run.sh --no-page     no page: only whether every step passes
set -eu

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=contrib/setup.sh
. "$ROOT/contrib/setup.sh"

BROWSER="selenium>=4.25 boto3>=1.36"
[ -x "$ROOT/.venv/bin/python" ] || set_up test
install_packages chromium chromium-driver || fail "Chromium cannot be had"
mkdir -p "$ROOT/.clients"
# shellcheck disable=SC2086
pip_once "$ROOT/.clients/browser" browser "$BROWSER" $BROWSER
exec "$ROOT/.clients/browser/bin/python" "$ROOT/contrib/console/walk.py" "$@"
