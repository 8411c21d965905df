"""Every test of a real mount runs on the transports that are asked for.

STRATUM_TEST_TRANSPORT says what speaks with the kernel: raw (our own, the default), pyfuse3, or both; contrib/test.sh
asks for both.
"""

import os

import pytest

ASKED = os.environ.get("STRATUM_TEST_TRANSPORT", "raw")
TRANSPORTS = ("raw", "pyfuse3") if ASKED == "both" else (ASKED,)


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param
