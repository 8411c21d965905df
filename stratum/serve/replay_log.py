"""S3 server access logs as events of replay: AWS's format, which is also that of Stratum's own.

Room: stratum/serve. May import: serve.replay_trace.

Lines that are no successful GET of an object are no reads (docs/tiering.md, "What counts as an access"). The object is
`bucket/key`, the key percent-decoded; a bucket is the prefix then.

Source: docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from stratum.serve.replay_trace import Event, Progress

# owner bucket [time] address requester request-id operation key "request" status error bytes-sent ...
_LINE = re.compile(
    r"\S+ (?P<bucket>\S+) \[(?P<time>[^\]]+)\] \S+ \S+ \S+ (?P<operation>\S+) (?P<key>\S+) "
    r'(?:"(?:[^"\\]|\\.)*"|-) (?P<status>\S+) \S+ (?P<sent>\S+)'
)
_READS = frozenset({"REST.GET.OBJECT", "WEBSITE.GET.OBJECT", "REST.COPY.OBJECT_GET"})


def read_logs(paths: tuple[Path, ...], progress: Progress) -> Iterator[Event]:
    """The reads of log files. A line in another format is left out, as readers of access logs must do."""
    for path in paths:
        open_it = gzip.open if path.suffix == ".gz" else open
        with open_it(path, "rt", errors="replace") as source:
            for number, line in enumerate(source, start=1):
                event = _read(line)
                if event:
                    yield event
                if not number % 10_000:
                    progress(10_000)


def _read(line: str) -> Event | None:
    found = _LINE.match(line)
    if not found or found["operation"] not in _READS or found["status"] not in ("200", "206"):
        return None
    if not found["sent"].isdigit() or found["key"] == "-":
        return None
    try:
        moment = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
    except ValueError:
        return None
    return moment.astimezone(UTC).date().isoformat(), f"{found['bucket']}/{unquote(found['key'])}", int(found["sent"])
