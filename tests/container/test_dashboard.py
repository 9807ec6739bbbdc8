"""The dashboard shows what the sidecar measures, and nothing else."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
from container_parts import EXAMPLES

from waiter.sidecar.metrics import Metrics
from waiter.sidecar.model import Status, Wait
from waiter.task import decode_task

DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "grafana-dashboard.json").read_bytes())
PANELS = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
# What a scrape adds, and what Grafana puts in.
ADDED = {"instance"}


def exposed() -> dict[str, set[str]]:
    """The sample names of a sidecar that has seen everything, each with its labels."""
    metrics = Metrics(lambda: [Wait(id="1", accepted_at=0.0)])
    metrics.record_poll(0.1, 200)
    task = {
        "id": "1",
        "state": "FINISHED",
        "task_type": "create_vm",
        "created_on": "2026-01-01T00:00:00",
        "finished_on": "2026-01-01T00:01:00",
    }
    metrics.record_task_end(decode_task(json.dumps(task).encode()), 1.0)
    text = metrics.render("")[0].decode()
    samples: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(waiter_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        samples.setdefault(name, set()).update(re.findall(r"(\w+)=\"", labels))
    return samples


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_asks_for_what_there_is(expression: str) -> None:
    """Every metric, and every label that it is chosen or grouped by, exists."""
    samples = exposed()
    names = re.findall(r"waiter_\w+", expression)
    labels = set(re.findall(r"(\w+)!?=~?\"", expression)) | set(
        re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", expression)))
    )
    assert set(names) <= samples.keys()
    assert all(labels - ADDED <= samples[name] for name in names)


@pytest.mark.parametrize(
    "metric",
    ["waiter_waits", "waiter_polls_total", "waiter_poll_seconds", "waiter_task_seconds", "waiter_detection_delay_seconds"],
)
def test_shows_everything(metric: str) -> None:
    """No metric is without a panel."""
    assert any(re.search(rf"\b{metric}(_bucket|_count)?\b", expression) for expression in EXPRESSIONS)


def test_states_exist() -> None:
    """A state that is asked for by name is one."""
    asked = {state for states in re.findall(r"state!?=~?\"(.*?)\"", " ".join(EXPRESSIONS)) for state in states.split("|")}
    assert asked <= {str(status) for status in Status}


def test_layout() -> None:
    """Panels have IDs of their own and do not lie over each other."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    squares = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in PANELS)
    ]
    assert not any(one & other for one, other in combinations(squares, 2))
    assert all(x < 24 for square in squares for x, _ in square)


def test_any_prometheus() -> None:
    """Every panel asks the data source that is chosen, not the one of whoever made it."""
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
