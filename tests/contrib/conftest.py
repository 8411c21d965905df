"""The programs of contrib are run by path, not installed: their folders join the path here."""

import sys
from pathlib import Path

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
for folder in ("evidence", "s3-tests", "pjdfstest", "backup", "campaigns"):
    sys.path.insert(0, str(CONTRIB / folder))
