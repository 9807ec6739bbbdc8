"""The Grafana dashboard uses the metrics of the sidecar."""

from __future__ import annotations

import json
import re
from itertools import combinations
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from container_parts import EXAMPLES

from waiter.outcome import WaitStatus
from waiter.sidecar.gauges import add_gauges
from waiter.sidecar.metrics import Metrics
from waiter.sidecar.model import Wait
from waiter.task import decode_task

DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "sidecar" / "grafana-dashboard.json").read_bytes())
PANELS = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
# Labels that a scrape adds.
ADDED = {"instance"}


def sample_labels() -> dict[str, set[str]]:
    """Return the sample names of a sidecar with all metrics, each with its labels."""
    metrics = Metrics(lambda: [Wait(id="1", accepted_at=0.0)])
    part: Any = MagicMock(size=int, pending=int, is_key_refused=int, key_age=int, open_connections=int, get_max_connections=int)
    part.long_polls = part.subscribers = SimpleNamespace(taken=int, count=1)
    part.lost = part.lost_events = part.lost_deliveries = part.is_failing = part.max_waits = 0
    add_gauges(
        metrics,
        options=part,
        store=part,
        write_queue=part,
        client=part,
        health=part,
        api=part,
        listeners={"control": part, "probes": part},
    )
    metrics.record_poll(0.1, 200)
    metrics.record_webhook("delivered")
    for name in ("waiter_webhooks_pending", "waiter_webhook_oldest_pending_seconds"):  # of the outbox
        metrics.add_gauge(name, name, lambda: 0)
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
def test_expressions_use_existing_metrics(expression: str) -> None:
    """Every metric and every label in an expression exists."""
    samples = sample_labels()
    names = re.findall(r"waiter_\w+", expression)
    labels = set(re.findall(r"(\w+)!?=~?\"", expression)) | set(
        re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", expression)))
    )
    assert set(names) <= samples.keys()
    assert all(labels - ADDED <= samples[name] for name in names)


@pytest.mark.parametrize("metric", sorted({re.sub("_(bucket|count|sum)$", "", name) for name in sample_labels()}))
def test_every_metric_has_a_panel(metric: str) -> None:
    """Each metric is in at least one expression."""
    assert any(re.search(rf"\b{metric}(_bucket|_count)?\b", expression) for expression in EXPRESSIONS)


def test_documentation_names_every_metric_with_its_labels_and_no_other() -> None:
    """The table of the page, and the metrics of a sidecar with webhooks; a histogram is named without its suffixes."""
    page = (EXAMPLES / "sidecar" / "README.md").read_text(encoding="utf-8")
    documented = {name: set(labels.split(",")) - {""} for name, labels in re.findall(r"`(waiter_\w+)(?:{(.*?)})?`", page)}
    found: dict[str, set[str]] = {}
    for name, labels in sample_labels().items():
        found.setdefault(re.sub("_(bucket|count|sum)$", "", name), set()).update(labels - {"le"})
    assert documented == found


def test_states_in_expressions_exist() -> None:
    """Every state in an expression is a status."""
    found = {state for states in re.findall(r"state!?=~?\"(.*?)\"", " ".join(EXPRESSIONS)) for state in states.split("|")}
    assert found <= {str(status) for status in WaitStatus}


def test_panels_do_not_overlap() -> None:
    """Panels have distinct IDs and positions."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    squares = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in PANELS)
    ]
    assert not any(one & other for one, other in combinations(squares, 2))
    assert all(x < 24 for square in squares for x, _ in square)


def test_panels_use_the_selected_data_source() -> None:
    """No panel refers to a fixed data source."""
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
