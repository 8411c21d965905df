"""docs/security.md names a test for each class of failure; the tests must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`([a-z0-9_/]+\.py)` ([a-z0-9_]+)")


def test_every_test_that_the_page_names_is_there():
    rows = [line for line in (ROOT / "docs/security.md").read_text().splitlines() if line.startswith("| ")]
    classes = [row for row in rows if not row.startswith("| reported")]
    assert len(classes) >= 50
    gone = []
    for row in classes:
        named = NAMED.findall(row)
        assert named, f"no test is named: {row}"
        for file, name in named:
            text = (ROOT / "tests" / file).read_text()
            if re.search(rf"^(async )?def test_{name}\(", text, re.MULTILINE) is None:
                gone.append(f"{file}::{name}")
    assert not gone
