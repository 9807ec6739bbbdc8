"""The examples for Argo Workflows and Tekton: their steps run in order against the simulation, as their engine runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from container_parts import IMAGE, USER

from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import parse_duration
from waiter.testing import SimulatedCloud, fails, finishes

EXAMPLES = Path(__file__).parents[2] / "examples"
INSTANCE = (EXAMPLES / "pipelines" / "instance.json").read_text(encoding="utf-8")
# Exit codes of a wait that fails again however often it is repeated.
FINAL = {ExitCode.FINISHED, ExitCode.FAILED, ExitCode.USAGE, ExitCode.REFUSED, ExitCode.NOT_FOUND, ExitCode.FAULT}
ARGO = yaml.safe_load((EXAMPLES / "argo" / "workflow-template.yaml").read_text(encoding="utf-8"))["spec"]
TEMPLATES = {one["name"]: one for one in ARGO["templates"]}
TEKTON = list(yaml.safe_load_all((EXAMPLES / "tekton" / "pipeline.yaml").read_text(encoding="utf-8")))
TASKS = {one["metadata"]["name"]: one["spec"] for one in TEKTON if one["kind"] == "Task"}
PIPELINE = TEKTON[-1]["spec"]

Run = Callable[[dict[str, Any], Iterable[str], Mapping[str, str]], str]


@pytest.fixture
def run(cloud: SimulatedCloud, environ: dict[str, str], tmp_path: Path) -> Run:
    """Runs the command of a container, with its environment and the key in a file; returns its standard output."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in {"waiter": f"{sys.executable} -m waiter", "python": sys.executable}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    key = tmp_path / "key"
    key.write_text(cloud.api_key, encoding="utf-8")
    here = {"https://api.gcore.com": environ["GCORE_BASE_URL"], "/run/secrets/gcore/key": str(key)}
    base = {name: value for name, value in environ.items() if name != "GCORE_API_KEY"}

    def run(container: dict[str, Any], argv: Iterable[str], values: Mapping[str, str]) -> str:
        own = {one["name"]: here.get(one["value"]) or with_values(one["value"], values) for one in container.get("env", [])}
        variables = {**base, **own, "PATH": f"{programs}:{base['PATH']}"}
        ran = subprocess.run(list(argv), env=variables, capture_output=True, text=True, check=False, timeout=60)
        if ran.returncode:
            raise subprocess.CalledProcessError(ran.returncode, ran.args, ran.stdout, ran.stderr)
        return ran.stdout

    return run


def with_values(text: str, values: Mapping[str, str]) -> str:
    """Insert the values as both engines do: ``{{name}}`` and ``$(name)``; a name without a value is an error."""
    return re.sub(r"\{\{([\w.-]+)\}\}|\$\(([\w.-]+)\)", lambda found: values[found[1] or found[2]], text)


def argo(run: Run, **parameters: str) -> dict[str, str]:
    """Run the steps of the template in order; return the result of each, which is its standard output."""
    defaults = {one["name"]: one["value"] for one in ARGO["arguments"]["parameters"] if "value" in one}
    values = {f"workflow.parameters.{name}": value for name, value in (defaults | parameters).items()}
    results = {}
    for (step,) in TEMPLATES[ARGO["entrypoint"]]["steps"]:
        template = TEMPLATES[step["template"]]
        given = {
            f"inputs.parameters.{one['name']}": with_values(one["value"], values)
            for one in step.get("arguments", {}).get("parameters", [])
        }
        assert set(given) == {f"inputs.parameters.{one['name']}" for one in template.get("inputs", {}).get("parameters", [])}
        container = template.get("script") or template["container"]
        # A script is the last argument of its command, as a file; here as an option of Python.
        words = ["-c", container["source"]] if "script" in template else container.get("args", [])
        argv = [with_values(word, values | given) for word in [*container["command"], *words]]
        results[step["name"]] = run(container, argv, values | given).strip()
        values[f"steps.{step['name']}.outputs.result"] = results[step["name"]]
    return results


def tekton(run: Run, folder: Path, **params: str) -> dict[str, str]:
    """Run the tasks of the pipeline in order; return the standard output of each."""
    values = {f"params.{name}": value for name, value in params.items()}
    assert set(params) == {one["name"] for one in PIPELINE["params"]}
    printed = {}
    for task in PIPELINE["tasks"]:
        spec = task.get("taskSpec") or TASKS[task["taskRef"]["name"]]
        given: dict[str, Any] = {one["name"]: one["default"] for one in spec["params"] if "default" in one}
        for one in task["params"]:
            words = one["value"] if isinstance(one["value"], list) else [one["value"]]
            inserted = [with_values(word, values) for word in words]
            given[one["name"]] = inserted if isinstance(one["value"], list) else inserted[0]
        assert set(given) == {one["name"] for one in spec["params"]}
        files = {one["name"]: folder / f"{task['name']}-{one['name']}" for one in spec.get("results", [])}
        paths = {f"results.{name}.path": str(file) for name, file in files.items()}
        own = paths | {f"params.{name}": value for name, value in given.items() if isinstance(value, str)}
        (step,) = spec["steps"]
        words = step["command"] + step["args"] if "command" in step else ["sh", "-c", step["script"]]
        lists = {f"$(params.{name}[*])": value for name, value in given.items() if isinstance(value, list)}
        argv = [with_values(part, own) for word in words for part in lists.get(word, [word])]
        printed[task["name"]] = run(step, argv, own)
        for name, file in files.items():
            values[f"tasks.{task['name']}.results.{name}"] = file.read_text(encoding="utf-8")
    return printed


def test_argo_workflow_passes_the_id_to_the_last_step(run: Run, cloud: SimulatedCloud) -> None:
    """Each result is the standard output of the step before."""
    cloud.on_request("POST", "/cloud/v2/instances/1/2", finishes(0.2, {"instances": ["vm-1"]}))
    results = argo(run, project="1", region="2")
    assert (results["wait"], results["use"]) == ("vm-1", "The new instance is vm-1")


def test_argo_workflow_ends_with_the_code_of_a_failed_task(run: Run, cloud: SimulatedCloud) -> None:
    """The last step does not run."""
    cloud.on_request("POST", "/cloud/v2/instances/1/3", fails(0.0))
    with pytest.raises(subprocess.CalledProcessError) as raised:
        argo(run, project="1", region="3")
    assert raised.value.returncode == ExitCode.FAILED


def test_argo_retries_only_what_a_retry_can_change() -> None:
    """The wait is repeated, the request is not."""
    strategy = TEMPLATES["wait"]["retryStrategy"]
    codes = {int(code) for code in re.findall(r"\d+", strategy["expression"])}
    assert codes.isdisjoint(FINAL)
    assert {ExitCode.UNAVAILABLE, ExitCode.STALLED, ExitCode.TIMED_OUT, ExitCode.TERMINATED} <= codes
    assert "retryStrategy" not in TEMPLATES["create"]


def test_tekton_pipeline_passes_the_id_to_the_last_task(run: Run, cloud: SimulatedCloud, tmp_path: Path) -> None:
    """Each result is a file whose path the engine inserts."""
    cloud.on_request("POST", "/cloud/v2/instances/1/4", finishes(0.2, {"instances": ["vm-1"]}))
    assert tekton(run, tmp_path, project="1", region="4", instance=INSTANCE)["use"] == "The new instance is vm-1\n"


def test_tekton_pipeline_ends_with_the_code_of_a_failed_task(run: Run, cloud: SimulatedCloud, tmp_path: Path) -> None:
    """The last task does not run."""
    cloud.on_request("POST", "/cloud/v2/instances/1/5", fails(0.0))
    with pytest.raises(subprocess.CalledProcessError) as raised:
        tekton(run, tmp_path, project="1", region="5", instance=INSTANCE)
    assert raised.value.returncode == ExitCode.FAILED


def test_tekton_repeats_the_wait_only() -> None:
    """A second request would create a second instance."""
    assert [task.get("retries", 0) for task in PIPELINE["tasks"]] == [0, 3, 0]


def test_tekton_manifests_have_known_fields() -> None:
    """A misspelt field would be ignored or refused by the cluster."""
    schema = json.loads(Path(__file__).with_name("tekton.schema.json").read_text(encoding="utf-8"))
    for manifest in TEKTON:
        jsonschema.validate(manifest, schema)
    misspelt = deepcopy(TEKTON[1])
    misspelt["spec"]["steps"][0]["agrs"] = []
    with pytest.raises(jsonschema.ValidationError, match="agrs"):
        jsonschema.validate(misspelt, schema)


def test_body_of_the_request_is_that_of_the_other_examples() -> None:
    """Argo has it as a parameter."""
    [body] = [one["value"] for one in ARGO["arguments"]["parameters"] if one["name"] == "instance"]
    assert json.loads(body) == json.loads(INSTANCE)


CONTAINERS = [
    *(one.get("script") or one["container"] for one in TEMPLATES.values() if "steps" not in one),
    *(step for task in TASKS.values() for step in task["steps"]),
]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda one: " ".join(one["command"]))
def test_container_is_restricted(container: dict[str, Any]) -> None:
    """Each runs waiter's image or a public one, without privileges, and reads the key from a file."""
    assert container["image"] in {IMAGE, "docker.io/library/busybox:1.37"}
    own = container["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["capabilities"]) == (False, {"drop": ["ALL"]})
    pod = own if "runAsUser" in own else ARGO["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["seccompProfile"]) == (True, USER, {"type": "RuntimeDefault"})
    assert "GCORE_API_KEY" not in {one["name"] for one in container["env"]}


def test_engine_gives_up_later_than_waiter() -> None:
    """The message of waiter says how to resume, that of the engine does not."""
    (argo_timeout,) = [word for word in TEMPLATES["wait"]["container"]["args"] if word.startswith("--timeout=")]
    assert TEMPLATES["wait"]["activeDeadlineSeconds"] > (parse_duration(argo_timeout.removeprefix("--timeout=")) or 0)
    (default,) = [one["default"] for one in TASKS["gcore-wait"]["params"] if one["name"] == "timeout"]
    (task,) = [one for one in PIPELINE["tasks"] if one["name"] == "wait"]
    assert (parse_duration(task["timeout"]) or 0) > (parse_duration(default) or 0)
