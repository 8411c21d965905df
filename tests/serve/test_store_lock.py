import os
import subprocess
import sys

import pytest

from stratum.core.errors import StoreLocked
from stratum.serve.store_lock import holder_of, lock_store

HOLD = """
import sys
from pathlib import Path
from stratum.serve.store_lock import lock_store
with lock_store(Path(sys.argv[1])) as lock:
    lock.describe(address="127.0.0.1:9", mountpoint="/m")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_holds_the_store(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreLocked, match=f"process {holder.pid} has the store"), lock_store(tmp_path):
            pass
        found = holder_of(tmp_path)
        assert (found.pid, found.address, found.mountpoint) == (holder.pid, "127.0.0.1:9", "/m")
        holder.kill()  # even so the lock goes with the process
        holder.wait()
        assert holder_of(tmp_path) is None
        with lock_store(tmp_path):
            assert holder_of(tmp_path).pid == os.getpid()


def test_the_lock_ends_with_the_block_also_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), lock_store(tmp_path):
        raise RuntimeError
    with lock_store(tmp_path):
        pass
    assert holder_of(tmp_path) is None


def test_nobody_holds_a_store_that_is_not_there(tmp_path):
    assert holder_of(tmp_path / "none") is None


def test_an_unreadable_description_is_advice_lost_not_an_error(tmp_path):
    with lock_store(tmp_path):
        (tmp_path / "lock").write_text('{"pid": ')
        assert holder_of(tmp_path).pid == 0
        with pytest.raises(StoreLocked, match="another process"), lock_store(tmp_path):
            pass
