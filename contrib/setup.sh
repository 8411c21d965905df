# Set-up shared by run.sh and test.sh: Debian packages, then .venv. Sourced with ROOT set; nothing is done twice.

SYSTEM_PACKAGES="python3-venv python3-dev build-essential pkg-config fuse3 libfuse3-dev libisal2"
PYTHON="${PYTHON:-python3}"

say() { printf '== %s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# as_root COMMAND...: run it as root, through sudo if need be.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        return 127
    fi
}

# missing_of PACKAGE...: print those that are not installed.
missing_of() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
    done
}

# install_packages PACKAGE...: fetch from Debian what is missing; false if that cannot be done.
install_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system: make sure that you have the equivalents of: $*"
        return 0
    fi
    missing="$(missing_of "$@")"
    [ -z "$missing" ] && return 0
    say "installing Debian packages: $missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || return 1
    # shellcheck disable=SC2086 # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >&2 || return 1
}

# pip_once VENV STAMP KEY ARGUMENT...: `pip install ARGUMENT...` unless it was done with the same KEY before.
pip_once() {
    local venv="$1" stamp="$1/.installed-$2" key="$3" log
    shift 3
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "making ${venv#"$ROOT"/}"
        rm -rf "$venv"
        "$PYTHON" -m venv "$venv" || fail "cannot make a virtual environment with $PYTHON"
    fi
    [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && return 0
    say "installing into ${venv#"$ROOT"/} (a minute or two, the first time only)"
    log="$(mktemp)"
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check -q "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        fail "pip could not install: $*"
    fi
    rm -f "$log"
    printf '%s\n' "$key" >"$stamp"
}

# set_up [EXTRA]: packages, .venv, and the project in it (editable, with [EXTRA]).
set_up() {
    local extra="${1:-}" key
    # shellcheck disable=SC2086
    install_packages $SYSTEM_PACKAGES ||
        fail "needed Debian packages are missing; run once as root or with sudo: apt-get install $SYSTEM_PACKAGES"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$PYTHON is older than 3.11"
    key="$ROOT $(sha256sum <"$ROOT/pyproject.toml")"
    if [ -z "$extra" ] && [ "$(cat "$ROOT/.venv/.installed-test" 2>/dev/null)" = "$key" ]; then
        extra=test # there already, and it holds what is needed to run
    fi
    pip_once "$ROOT/.venv" "${extra:-run}" "$key" -e "$ROOT${extra:+[$extra]}"
}

# clear_dead_mount MOUNTPOINT: take away what a killed process left ("Transport endpoint is not connected").
clear_dead_mount() {
    if grep -qF " $1 fuse.stratumfs " /proc/self/mounts && ! stat -f "$1" >/dev/null 2>&1; then
        say "clearing the mount that a killed process left at $1"
        fusermount3 -uz "$1" 2>/dev/null || as_root umount -l "$1"
    fi
}
