import io
import json
import logging

import pytest

from stratum.serve.logs import CHATTY, clean, hide, set_up_logs

CANARY = "Canary7SecretCanary7SecretCanary"
log = logging.getLogger("stratum.test")


@pytest.fixture
def lines():
    """Set up logging of a form; call to read what was written. Puts the old logging back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    chatty = {name: logging.getLogger(name).level for name in CHATTY}
    stream = io.StringIO()

    def start(form: str, level: str = "info") -> io.StringIO:
        set_up_logs(level, form, stream)
        return stream

    yield start
    root.handlers[:], level = before
    root.setLevel(level)
    for name, level in chatty.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)


def test_machines_get_one_json_object_a_line(lines):
    stream = lines("auto")  # not a terminal
    log.warning("disk %d\nis gone", 3, extra={"request_id": "4F2A", "slot": 3})
    event = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert event["message"] == "disk 3\nis gone"
    assert (event["level"], event["request_id"], event["slot"]) == ("warning", "4F2A", "3")


def test_people_get_text_and_no_forged_lines(lines):
    stream = lines("text")
    log.info("key %s", "a\n12:00:00 error forged\x1b[31m", extra={"request_id": "4F2A"})
    assert stream.getvalue().count("\n") == 1
    assert "request_id=4F2A" in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_the_level_is_obeyed(lines):
    stream = lines("json", "warning")
    log.info("no")
    logging.getLogger("hypercorn.error").info("no")
    log.error("yes")
    assert json.loads(stream.getvalue())["message"] == "yes"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_known_secret_is_never_written_however_it_comes(lines, form):
    stream = lines(form)
    hide(CANARY)
    log.info("secret %s", CANARY)
    log.info("extra", extra={"thing": {"deep": [CANARY]}})
    try:
        raise ValueError(f"about {CANARY}")
    except ValueError:
        log.exception("failed with %r", {"key": CANARY})
    assert CANARY not in stream.getvalue()
    assert stream.getvalue().count("***") >= 4 and "Traceback" in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"/b/k?X-Amz-Date=1&X-Amz-Signature={CANARY}x&a=b",
        f"{{'authorization': 'AWS4-HMAC-SHA256 Credential=a/b, Signature={CANARY}x'}}",
        f"[(b'authorization', b'Bearer {CANARY}x')]",
        f"Authorization: Basic {CANARY}x",
        f"aws_secret_access_key = {CANARY}x",
        f'{{"secret_key": "{CANARY}x"}}',
        f"x-amz-security-token={CANARY}x",
    ],
)
def test_what_looks_like_a_grant_is_blanked(text):
    assert CANARY[:8] not in clean(text)


def test_ordinary_words_are_left_alone():
    for text in ("the signature does not match", "no authorization given", "secret keys: 3", "a" * 100):
        assert clean(text) == text
