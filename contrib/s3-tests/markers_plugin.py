"""Loaded into the suite's pytest (-p markers_plugin): gives each worker its own server, notes the markers of each test.

It changes nothing of the suite: a worker reads another configuration file, and each test's markers go to the report.
"""

import os
import re


def pytest_configure(config):
    """Name the configuration file of this worker: S3TEST_CONFS holds {worker}, S3TEST_SERVERS says how many."""
    number = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "gw0")))
    number %= int(os.environ["S3TEST_SERVERS"])  # a worker that died is replaced under the next number
    os.environ["S3TEST_CONF"] = os.environ["S3TEST_CONFS"].replace("{worker}", str(number))


def pytest_collection_modifyitems(items):
    for item in items:
        marks = {mark.name for mark in item.iter_markers()} - {"parametrize", "usefixtures", "timeout"}
        item.user_properties.append(("file", item.path.name))
        item.user_properties.extend(("mark", name) for name in sorted(marks))
