from pathlib import Path

import pytest

from stratum.engine.credentials import RootCredential
from stratum.serve.credentials_file import Root
from stratum.serve.guide import guide, ready_line

CREDENTIAL = RootCredential("STRROOT", "canary-secret-key")
URL, MOUNT = "http://127.0.0.1:9000", Path("/mnt/stratum")


def exports(text: str) -> dict[str, str]:
    lines = [line.removeprefix("export ") for line in text.splitlines() if line.startswith("export ")]
    return dict(line.split("=", 1) for line in lines)


def test_the_first_start_shows_the_credentials_once_ready_to_paste():
    text = guide(URL, MOUNT, Root(CREDENTIAL, "/data/credentials", new=True), "eu-west-3")
    assert exports(text) == {
        "AWS_ACCESS_KEY_ID": "STRROOT",
        "AWS_SECRET_ACCESS_KEY": "canary-secret-key",
        "AWS_ENDPOINT_URL": URL,
        "AWS_DEFAULT_REGION": "eu-west-3",
    }


@pytest.mark.parametrize("place", ["/data/credentials", "the environment (STRATUM_ROOT_ACCESS_KEY)"])
def test_later_starts_say_where_they_are_kept_and_never_the_secret(place):
    text = guide(URL, MOUNT, Root(CREDENTIAL, place), "us-east-1")
    assert place in text and CREDENTIAL.secret_key not in text
    assert exports(text)["AWS_ENDPOINT_URL"] == URL


@pytest.mark.parametrize("url, mount", [(URL, MOUNT), (URL, None), ("", MOUNT)])
def test_there_are_three_commands_to_try_that_fit_the_doors(url, mount):
    text = guide(url, mount, Root(CREDENTIAL, "/data/credentials"), "us-east-1")
    commands = [line for line in text.partition("To try")[2].splitlines() if line.startswith("  ")]
    assert len(commands) == 3
    assert ("aws" in text) == bool(url) and (str(MOUNT) in text) == bool(mount)


def test_the_ready_line_names_the_doors_that_are_open():
    assert ready_line(URL, MOUNT, 0.51) == f"ready s3={URL} mount={MOUNT} after 0.5 s"
    assert ready_line("", MOUNT, 1) == f"ready mount={MOUNT} after 1.0 s"
