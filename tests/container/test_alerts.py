"""The alerts use metrics of the sidecar, and each is tested; .ci/alerts runs their tests with promtool."""

from __future__ import annotations

import re

import pytest
from container_parts import EXAMPLES, MANIFESTS, ROOT, read_all

(GROUP,) = MANIFESTS["prometheusrule/PrometheusRule"]["spec"]["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
(TESTS,) = read_all(ROOT / "tests" / "container" / "alerts.yaml")
PAGE = (EXAMPLES / "sidecar" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_alert_is_complete(rule: dict[str, dict[str, str]]) -> None:
    """It has a severity, and says what is the matter and what to do."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_alert_uses_documented_metrics(rule: dict[str, str]) -> None:
    """Each name is in the table of metrics, so that it exists."""
    names = re.findall(r"waiter_\w+", rule["expr"])
    assert all(f"`{name}" in PAGE for name in names)
    assert names or rule["expr"].startswith("up{")


@pytest.mark.parametrize("name", RULES)
def test_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    """Both at some time of some series."""
    cases = [case for test in TESTS["tests"] for case in test["alert_rule_test"] if case["alertname"] == name]
    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}
