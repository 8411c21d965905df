import click
import pytest

from stratum.serve.mount_options import split_options


def test_what_fstab_passes_on_is_sorted():
    chosen = split_options(
        ["rw,_netdev,nofail,x-systemd.automount,dev,suid,allow_other", "close=durable,ro,data=/srv/s"]
    )
    assert chosen.fuse == ["allow_other", "ro"]
    assert chosen.ours == {"close": "durable", "data": "/srv/s"}
    assert not chosen.background


def test_background_is_ours_alone():
    assert split_options(["background", ""]).background
    assert split_options(["background"]).fuse == []


@pytest.mark.parametrize("word", ["data", "close=", "s3", "config="])
def test_an_option_without_its_value_is_refused(word):
    with pytest.raises(click.UsageError, match="needs a value"):
        split_options([word])


def test_whoever_calls_it_may_want_it_in_the_foreground():
    assert split_options(["rw,foreground"]).foreground
    assert split_options(["X-mount.mkdir,x-systemd.requires=a.mount,uhelper=x,_netdev"]).fuse == []
