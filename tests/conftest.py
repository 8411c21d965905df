"""What every test folder shares: which tests this machine can run.

A test marked `fuse` needs root and a usable /dev/fuse. Without them it is skipped, and the end of the run says
so; with STRATUM_TEST_REQUIRE_FUSE=1 (set by contrib/test.sh for root) such a skip is an error instead. Likewise one
marked `program(NAME)`, which needs a program of the system, with STRATUM_TEST_REQUIRE_PROGRAMS=1 (set by
contrib/test.sh, which installs them).

STRATUM_TEST_TRANSPORT says what speaks FUSE with the kernel in these tests: raw (our own, the default), pyfuse3, or
both (set by contrib/test.sh).
"""

import os
import shutil
import signal

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")

REQUIRE = "STRATUM_TEST_REQUIRE_FUSE"
REQUIRE_PROGRAMS = "STRATUM_TEST_REQUIRE_PROGRAMS"
ASKED = os.environ.get("STRATUM_TEST_TRANSPORT", "raw")

# A shell without job control lets what it starts in the background ignore Ctrl-C, and whatever that starts inherits it:
# a suite run by a script with `&` would wait in vain for servers to end that it sends SIGINT.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


TRANSPORTS = ("raw", "pyfuse3") if ASKED == "both" else (ASKED,)

# For what a process does with a mount whoever speaks FUSE: one of them will do.
one_transport = pytest.mark.parametrize("transport", TRANSPORTS[:1])


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """What speaks FUSE with the kernel."""
    return request.param


def why_no_fuse() -> str:
    """The reason why nothing can be mounted here; empty if it can."""
    if os.geteuid() != 0:
        return "not root"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse is not usable: {error.strerror}"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of the real mount where there can be none, and of absent programs, and remember them."""
    _without_programs(config, items)
    mounting = [item for item in items if item.get_closest_marker("fuse")]
    reason = why_no_fuse() if mounting else ""
    if not reason:
        return
    if os.environ.get(REQUIRE) == "1":
        raise pytest.UsageError(f"{REQUIRE}=1, but the mount cannot be tested: {reason}")
    for item in mounting:
        item.add_marker(pytest.mark.skip(reason=f"needs a real mount: {reason}"))
    config.stash[SKIPPED] = f"{len(mounting)} tests of the real mount were SKIPPED: {reason}"


def _without_programs(config: pytest.Config, items: list[pytest.Item]) -> None:
    skipped = set()
    for item in items:
        for marker in item.iter_markers("program"):
            if shutil.which(marker.args[0]) is None:
                skipped.add(marker.args[0])
                item.add_marker(pytest.mark.skip(reason=f"{marker.args[0]} is not installed"))
    if skipped and os.environ.get(REQUIRE_PROGRAMS) == "1":
        raise pytest.UsageError(f"{REQUIRE_PROGRAMS}=1, but not installed: {', '.join(sorted(skipped))}")
    if skipped:
        config.stash[ABSENT] = f"tests were SKIPPED for lack of: {', '.join(sorted(skipped))}"


SKIPPED, ABSENT = pytest.StashKey[str](), pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly what was not tested."""
    for key in (SKIPPED, ABSENT):
        if key in config.stash:
            terminalreporter.write_sep("!", config.stash[key], red=True, bold=True)
