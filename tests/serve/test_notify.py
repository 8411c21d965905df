import socket

import pytest

from stratum.serve.notify import notify


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        if request.param == "path":
            channel.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        else:
            channel.bind(f"\0stratum-test-{tmp_path}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@stratum-test-{tmp_path}")
        yield channel


def test_systemd_hears_every_state_in_one_datagram(listener):
    assert notify(READY="1", STATUS="serving")
    assert listener.recv(4096) == b"READY=1\nSTATUS=serving"


@pytest.mark.parametrize("address", [None, "", "not/absolute", "/nobody/listens/here"])
def test_without_systemd_nothing_happens(monkeypatch, address):
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify(READY="1")
