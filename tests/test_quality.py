"""The linters are tests: what they find fails the run, everywhere, with the settings in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CHECKS = {
    "ruff-check": ("ruff", "check", "--quiet", "--output-format=concise", "."),
    "ruff-format": ("ruff", "format", "--check", "--quiet", "."),
    "mypy": ("mypy",),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS.keys())
def test_the_linters_have_nothing_to_say(command):
    outcome = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert outcome.returncode == 0, f"{' '.join(command)}:\n{outcome.stdout}{outcome.stderr}"
