"""Logs: one line an event, text on a terminal and JSON elsewhere, with the request's id and without secrets.

Room: stratum/serve. May import: nothing of ours.

A message is cleaned before it is written: known secrets, signatures and authorisation headers become `***`,
whoever wrote them and however they came in (arguments, exceptions, foreign libraries).
"""

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, TextIO

HIDDEN = "***"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # of the S3 request this task works for
_known: set[str] = set()

# What S3 requests carry that grants something, as header, query or repr of either.
_GRANTS = re.compile(
    r"""((?:x-amz-signature|signature|x-amz-security-token|secret_?(?:access_?)?key|password)["']?\s*[=:]\s*["']?)"""
    r"""[^\s"'&,;)]+|(authorization["']?\s*[=:,]\s*b?["']?)[^"'\r\n]+"""
    r"""|(customer-key["']?\s*[=:,]\s*b?["']?)[^\s"'&,;)]+""",
    re.IGNORECASE,
)
_ONE_LINE = {code: f"\\x{code:02x}" for code in (*range(32), 127)}  # a client must not forge a line
CHATTY = ("hypercorn", "quart", "asyncio")  # their information is our debugging
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id"}


def hide(secret: str) -> None:
    """Never write this text to a log."""
    if len(secret) >= 8:  # shorter ones would blank ordinary words
        _known.add(secret)


def clean(text: str) -> str:
    """Return `text` without known secrets and without what looks like one."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return _GRANTS.sub(lambda match: (match[1] or match[2] or match[3]) + HIDDEN, text)


class TextLines(logging.Formatter):
    """For people: time, level, where, message, then the extra fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line (and a traceback below it, if there is one)."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        extra = "".join(f" {name}={value}" for name, value in _fields(record).items())
        start = f"{moment}.{int(record.msecs):03} {record.levelname.lower():7} {record.name}: "
        message = (record.getMessage() + extra).translate(_ONE_LINE)
        return clean(start + message + (f"\n{_traceback(self, record)}" if record.exc_info else ""))


class JsonLines(logging.Formatter):
    """For machines: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        event |= {name: clean(str(value)) for name, value in _fields(record).items()}
        if record.exc_info:
            event["traceback"] = clean(_traceback(self, record))
        return json.dumps(event)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The request id, and whatever a caller passed as `extra`."""
    found = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    request = getattr(record, "request_id", "") or REQUEST_ID.get()
    return {"request_id": request, **found} if request else found


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""


def set_up_logs(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send everything from `level` up to `stream` (default: standard error). `form`: text, json or auto."""
    stream = stream or sys.stderr
    text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines() if text else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
