"""See contrib/run.sh and the systemd unit work on a Debian 12 that has nothing: booted, used, killed, rebooted.

Usage: contrib/evidence/fresh_machine.py [--certificates FILE] [--mirror URL] [--output docs/evidence/fresh-machine.md]

Debian's smallest installation is made by debootstrap in a temporary folder and booted in a container (systemd-nspawn)
with its own systemd as process 1; kernel, network and /dev/fuse are this machine's. Takes some five minutes, most of
them for packages. Needs root, debootstrap and systemd-container. Ends with status 1 if a check failed.

--certificates: what pip trusts in there, on a network that has an authority of its own.
"""

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from served import ROOT, commit_of, free_port

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,procps,ca-certificates"  # what a server has on it before anybody logs in
TRUSTED = "/etc/ssl/certs/given.crt"
UNIT = "stratumfs.service"


class Failed(Exception):
    """A check did not hold."""


class Machine:
    """A container with systemd. Use as a context; `rows` is what was done and seen."""

    def __init__(self, mirror: str, certificates: Path | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stratum-fresh-", dir="/var/tmp"))
        self.root = self.folder / "root"
        self.rows: list[tuple[str, str]] = []
        self._container: subprocess.Popen | None = None
        self._environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(self.root), mirror]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", self.root / "etc")
        if certificates:
            shutil.copy(certificates, self.root / TRUSTED.lstrip("/"))
            self._environment |= {"PIP_CERT": TRUSTED, "SSL_CERT_FILE": TRUSTED}

    def __enter__(self) -> "Machine":
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()
        shutil.rmtree(self.folder)

    def boot(self) -> None:
        """Start its systemd, and return when all it starts by itself is started."""
        words = ["--register=no", "--keep-unit", "--bind=/dev/fuse", "--capability=all", "--resolv-conf=off", "--boot"]
        with (self.folder / "console.log").open("ab") as log:
            command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--link-journal=no", *words]
            self._container = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.until(lambda: bool(self._processes()), "process 1")
        self.until(lambda: self.call("systemctl is-system-running --wait") in ("running", "degraded"), "systemd")

    def power_off(self) -> None:
        """As its owner would; the container ends with it."""
        if self._container is not None and self._container.poll() is None:
            self.call("systemctl poweroff --no-block")
            try:
                self._container.wait(60)
            except subprocess.TimeoutExpired:
                self._container.terminate()
                self._container.wait()

    def call(self, command: str, *, check: bool = False, timeout: float = 900) -> str:
        """What a shell in there says to `command`."""
        leader = self._processes()
        if not leader:
            return ""
        inside = ["nsenter", "--target", leader[0], "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]
        done = subprocess.run(
            [*inside, "bash", "-c", command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise Failed(f"`{command}` ended with {done.returncode}: {done.stdout[-1500:]}")
        return done.stdout.strip()

    def _processes(self) -> list[str]:
        assert self._container is not None, "it is booted"
        return Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children").read_text().split()

    def note(self, done: str, seen: str) -> None:
        """One more row."""
        print(f"{done}: {seen}", file=sys.stderr, flush=True)
        self.rows.append((done, seen))

    def expect(self, command: str, said: str) -> None:
        """Note what `command` says, which must contain `said`."""
        found = self.call(command)
        self.note(f"`{command}`", found.replace("\n", "; ") or "(nothing)")
        if said not in found or (not said and found):
            raise Failed(f"`{command}` said {found!r}, not {said!r}")

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for something."""
        begun = time.monotonic()
        while not holds():
            if time.monotonic() - begun > seconds:
                raise Failed(f"{what} did not come within {seconds:g} s")
            time.sleep(0.1)


def first_start(machine: Machine) -> None:
    """contrib/run.sh as the README has it, on a machine without Python."""
    port = free_port()
    machine.expect("command -v python3 fusermount3 gcc git", "")
    begun = time.monotonic()
    settings = f"STRATUM_S3_ADDRESS=127.0.0.1:{port}"
    machine.call(f"exec > /tmp/run.log 2>&1; cd /opt/stratum; {settings} setsid contrib/run.sh &")
    machine.until(lambda: machine.call("grep -c ^ready /tmp/run.log") == "1", "the first start", 900)
    machine.note("`contrib/run.sh`: packages, environment, first start", f"{time.monotonic() - begun:.0f} s")
    machine.expect("grep -c '^export AWS_' /tmp/run.log", "4")
    machine.expect("mkdir /mnt/stratum/photos && echo one > /mnt/stratum/photos/a && cat /mnt/stratum/photos/a", "one")
    machine.expect("umount /mnt/stratum", "")
    machine.until(lambda: not machine.call("pgrep -f stratumfs"), "the end of the process")


def as_a_service(machine: Machine) -> None:
    """contrib/stratumfs.service, copied as its first lines say."""
    machine.call(f"cp /opt/stratum/contrib/{UNIT} /etc/systemd/system/", check=True)
    machine.call(f"echo STRATUM_S3_ADDRESS=127.0.0.1:{free_port()} > /etc/default/stratum", check=True)
    machine.expect("systemctl enable --now stratumfs 2>/dev/null; systemctl is-active stratumfs", "active")
    machine.expect("systemctl show stratumfs -p StatusText --value", "ready")
    machine.expect("echo two > /mnt/stratum/photos/b && sync /mnt/stratum/photos/b && cat /mnt/stratum/photos/?", "two")
    machine.expect("kill -9 $(systemctl show stratumfs -p MainPID --value); sleep 1; echo killed", "killed")
    machine.until(lambda: machine.call("systemctl is-active stratumfs") == "active", "the restart")
    machine.expect("systemctl show stratumfs -p NRestarts --value; cat /mnt/stratum/photos/?", "1\none\ntwo")
    machine.expect("systemctl stop stratumfs; systemctl show stratumfs -p ActiveState,Result", "Result=success")
    machine.expect("grep fuse.stratumfs /proc/mounts", "")
    machine.expect("systemctl start stratumfs; umount /mnt/stratum; echo unmounted", "unmounted")
    machine.until(lambda: machine.call("systemctl is-active stratumfs") == "inactive", "its end after umount")
    machine.expect("systemctl show stratumfs -p ActiveState,Result", "Result=success")


def after_a_reboot(machine: Machine) -> None:
    """What was enabled is there without anybody logging in, and `systemctl poweroff` loses nothing."""
    machine.call("systemctl start stratumfs && echo three > /mnt/stratum/photos/c", check=True)
    machine.power_off()
    machine.boot()
    machine.expect("systemctl is-active stratumfs; cat /mnt/stratum/photos/?", "active\none\ntwo\nthree")
    machine.expect("/opt/stratum/.venv/bin/stratum status | head -3", "mount")


def by_fstab(machine: Machine) -> None:
    """The line of the README."""
    machine.call("systemctl disable --now stratumfs", check=True)
    machine.call("/opt/stratum/.venv/bin/stratumfs --install-helper", check=True)
    line = f"stratum /mnt/stratum fuse.stratumfs _netdev,data=/var/lib/stratum,s3=127.0.0.1:{free_port()} 0 0"
    machine.call(f"echo '{line}' >> /etc/fstab && systemctl daemon-reload", check=True)
    machine.expect("mount /mnt/stratum && cat /mnt/stratum/photos/?", "one\ntwo\nthree")
    machine.expect("umount /mnt/stratum; echo $?", "0")
    machine.until(lambda: not machine.call("pgrep -f stratumfs"), "the end of the process")
    machine.power_off()
    machine.boot()
    machine.expect("findmnt -no FSTYPE /mnt/stratum; cat /mnt/stratum/photos/?", "fuse.stratumfs\none\ntwo\nthree")


STEPS = {
    "First start": first_start,
    "As a service of systemd": as_a_service,
    "After a reboot": after_a_reboot,
    "By a line of fstab, and a reboot": by_fstab,
}


def page(rows: dict[str, list[tuple[str, str]]], commit: str, failure: str) -> str:
    when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    lines = [
        "# A fresh machine",
        "",
        f"`contrib/evidence/fresh_machine.py`, {when}, commit {commit}, {os.cpu_count()} cores,",
        f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f}. Debian 12 as debootstrap leaves it, with",
        "systemd and certificates, booted in a container with its own systemd as process 1; nothing else was installed",
        "by hand.",
        "",
        f"**{'FAILED: ' + failure if failure else 'Every check held.'}**",
    ]
    for step, found in rows.items():
        lines += ["", f"## {step}", "", (STEPS[step].__doc__ or "").strip(), "", "| done | seen |", "|---|---|"]
        lines += [
            f"| {what.replace('|', chr(92) + '|')} | {seen.replace('|', chr(92) + '|')} |" for what, seen in found
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--certificates", type=Path)
    parser.add_argument("--mirror", default=MIRROR)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found: dict[str, list[tuple[str, str]]] = {}
    failure, commit = "", commit_of(ROOT)
    with Machine(options.mirror, options.certificates) as machine:
        clone = ["git", "clone", "--quiet", str(ROOT), str(machine.root / "opt/stratum")]
        subprocess.run(clone, check=True)
        for name, step in STEPS.items():
            found[name] = machine.rows = []
            try:
                step(machine)
            except Failed as error:
                failure = f"{name}: {error}"
                print(
                    machine.call("journalctl -u stratumfs --no-pager | tail -20; tail -20 /tmp/run.log"),
                    file=sys.stderr,
                )
                break
    text = page(found, commit, failure)
    print(text)
    if options.output:
        options.output.write_text(text)
    return 1 if failure else 0


if __name__ == "__main__":
    raise SystemExit(main())
