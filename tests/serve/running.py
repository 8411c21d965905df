"""A real process for the tests of this room: started, asked, ended."""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "stratum": "from stratum.serve.cli import main; main()",
    "stratumfs": "from stratum.serve.mount_command import main; main()",
}
DEADLINE = 30.0  # seconds, for anything


def environment(**more: str) -> dict[str, str]:
    """A clean one: no settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STRATUM_", "AWS_", "NOTIFY_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def command(name: str, folder: Path) -> list[str]:
    """How to run `name`: from a file, so that it can start itself again."""
    script = folder / f"run-{name}.py"
    script.write_text(SCRIPTS[name])
    return [sys.executable, str(script)]


def stratum(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    """Run a `stratum` command to its end."""
    return subprocess.run(
        [*command("stratum", folder), *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


class Running:
    """`stratum serve` or `stratumfs`, until the block ends. `text` is all it has printed so far."""

    def __init__(
        self, folder: Path, *arguments: str, name: str = "stratum", before: tuple[str, ...] = (), **more: str
    ) -> None:
        self.text = ""
        self.process = subprocess.Popen(
            [*before, *command(name, folder), *arguments],
            env=environment(**more),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # also where these tests run under nohup
        )
        os.set_blocking(self.process.stdout.fileno(), False)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        print(self.text + (self.process.stdout.read() or b"").decode())  # shown when the test failed
        self.process.stdout.close()

    def read_until(self, pattern: str) -> re.Match:
        """Return the first match of `pattern` in what it prints."""
        end = time.monotonic() + DEADLINE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() < end:
                if found := re.search(pattern, self.text, re.MULTILINE):
                    return found
                selector.select(timeout=end - time.monotonic())
                piece = self.process.stdout.read()
                if piece == b"":
                    break
                self.text += (piece or b"").decode()
        raise AssertionError(f"no {pattern!r} in:\n{self.text}")

    def ready(self) -> str:
        """Wait for the ready line; return the address of the endpoint, if there is one."""
        return (self.read_until(r"^ready (?:s3=http://(\S+))?.*\n")[1]) or ""

    def end(self, number: int | None = None) -> int:
        """Send a signal (none: just wait), return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE)
        self.text += (self.process.stdout.read() or b"").decode()
        return code
