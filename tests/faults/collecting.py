"""Tell what was collected: `pytest --collect-only -p tests.faults.collecting`, then one JSON line a test."""

import json

import pytest

LEFT_OUT = ("skip", "skipif", "xfail")


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        marks = [mark.name for mark in item.iter_markers() if mark.name in LEFT_OUT]
        print(json.dumps({"id": item.nodeid, "left_out": marks}))
