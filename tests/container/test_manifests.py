"""The examples for Kubernetes: valid, and right in what no schema can tell."""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from container_parts import CONTAINERS, IMAGE, MANIFESTS, USER, WAITERS, Container, parsed, pods

from waiter.console.exit_codes import ExitCode

KNOWN = {name: one for name, one in MANIFESTS.items() if one["kind"] != "PodMonitor"}
SIDECAR = next(one for one in WAITERS if one.spec["args"][0] == "sidecar")


def named(one: Container) -> str:
    return one.name


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", KNOWN)
def test_valid(name: str, version: str) -> None:
    """Every manifest is valid where native sidecars began, and for the newest version that is known here."""
    kubernetes_validate.validate(KNOWN[name], version, strict=True)


def test_which_there_are() -> None:
    """The tests below see every manifest and every container."""
    kinds = {"init-container/Deployment", "job/Job", "podmonitor/PodMonitor", "secret/Secret", "sidecar/Deployment"}
    assert kinds == set(MANIFESTS)
    assert {
        "init-container/Deployment/app",
        "init-container/Deployment/wait",
        "job/Job/wait",
        "sidecar/Deployment/app",
        "sidecar/Deployment/waiter",
    } == {one.name for one in CONTAINERS}


@pytest.mark.parametrize("one", CONTAINERS, ids=named)
def test_container_is_restricted(one: Container) -> None:
    """Every container, the application's too, fits the restricted pod security standard, on a read-only root."""
    assert one.spec["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("pod", pods().values(), ids=pods())
def test_pod_is_restricted(pod: dict[str, Any]) -> None:
    """Every pod runs as the image's user, without a token of the cluster."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("one", CONTAINERS, ids=named)
def test_resources(one: Container) -> None:
    """Every container asks for what it needs and cannot take the node's memory; a cap on the processor would slow its start."""
    assert {"cpu", "memory"} == one.spec["resources"]["requests"].keys()
    assert {"memory"} == one.spec["resources"]["limits"].keys()


@pytest.mark.parametrize("one", WAITERS, ids=named)
def test_key_is_a_file(one: Container) -> None:
    """The key comes as a file that only the image's group can read, and never through the environment."""
    file = parsed(one.spec["args"]).api_key_file
    secret = one.volume_of(file)["secret"]
    assert not one.spec.keys() & {"env", "envFrom"}
    assert one.mount_of(file)["readOnly"] is True
    assert secret == {"secretName": MANIFESTS["secret/Secret"]["metadata"]["name"], "defaultMode": 0o440}
    assert file == f"{one.mount_of(file)['mountPath']}/{next(iter(MANIFESTS['secret/Secret']['stringData']))}"


def test_applications_have_no_key() -> None:
    """Nobody but waiter is given the key."""
    others = [mount["name"] for one in CONTAINERS if not one.is_waiter for mount in one.spec["volumeMounts"]]
    assert "gcore-api" not in others


def test_images() -> None:
    """One version of the image everywhere: this one."""
    assert {IMAGE} == {one.spec["image"] for one in WAITERS}


@pytest.mark.parametrize("one", WAITERS, ids=named)
def test_arguments(one: Container) -> None:
    """The command takes the arguments as they stand."""
    assert parsed(one.spec["args"]).task_ids == ["26986bc0-748a-4448-b836-0a2aa465eb06"]
    assert "command" not in one.spec


def test_probes() -> None:
    """Each probe asks for its own thing at the port that the sidecar listens on without being told."""
    probes = {kind: SIDECAR.spec[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    port = parsed(["sidecar"]).probe_listen.port
    assert probes == {
        "startup": {"path": "/startupz", "port": port},
        "readiness": {"path": "/readyz", "port": port},
        "liveness": {"path": "/livez", "port": port},
    }
    assert port == 8081
    assert SIDECAR.spec["ports"] == [{"name": "probes", "containerPort": port}]


def test_is_a_native_sidecar() -> None:
    """The sidecar is an init container that goes on, and its application waits for the startup probe."""
    assert SIDECAR.spec["restartPolicy"] == "Always"
    assert SIDECAR.spec in SIDECAR.pod["initContainers"]


def test_startup_outlasts_the_task() -> None:
    """The kubelet does not kill a sidecar that may still wait for its task."""
    probe = SIDECAR.spec["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > parsed(SIDECAR.spec["args"]).timeout


@pytest.mark.parametrize("option", ["state_dir", "result_file"])
def test_what_is_written_is_a_volume(option: str) -> None:
    """On a read-only root, what the sidecar writes goes to volumes that it may write."""
    path = getattr(parsed(SIDECAR.spec["args"]), option)
    assert "readOnly" not in SIDECAR.mount_of(path)
    assert "emptyDir" in SIDECAR.volume_of(path)


def test_applications_read_what_waiter_wrote() -> None:
    """The file that an application reads lies in the volume that waiter writes it to."""
    app = next(one for one in CONTAINERS if one.name == "sidecar/Deployment/app")
    file = parsed(SIDECAR.spec["args"]).result_file
    assert file in app.spec["command"][-1]
    assert SIDECAR.volume_of(file) == app.volume_of(file)
    wait, app = (one for one in CONTAINERS if one.name.startswith("init-container"))
    assert "/result/instances" in wait.spec["args"][-1]
    assert "/result/instances" in app.spec["command"][-1]
    assert wait.volume_of("/result/instances") == app.volume_of("/result/instances")


def test_what_a_job_does_not_repeat() -> None:
    """A job ends with a code that a second attempt cannot change, and takes up the wait after any other."""
    rule = MANIFESTS["job/Job"]["spec"]["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [
        ExitCode.FAILED,
        ExitCode.USAGE,
        ExitCode.REFUSED,
        ExitCode.NOT_FOUND,
        ExitCode.FAULT,
    ]
    assert rule["onExitCodes"]["containerName"] == pods()["job/Job"]["containers"][0]["name"]


def test_metrics_are_found() -> None:
    """Both ways of finding the metrics lead to the sidecar's pods and its probe listener."""
    monitor, template = MANIFESTS["podmonitor/PodMonitor"]["spec"], MANIFESTS["sidecar/Deployment"]["spec"]["template"]
    assert monitor["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert monitor["podMetricsEndpoints"] == [{"port": "probes", "path": "/metrics", "interval": "30s"}]
    annotations = {
        f"prometheus.io/{name}": value for name, value in {"scrape": "true", "port": "8081", "path": "/metrics"}.items()
    }
    assert template["metadata"]["annotations"] == annotations


@pytest.mark.parametrize("name", ["init-container/Deployment", "sidecar/Deployment"])
def test_selectors(name: str) -> None:
    """A deployment selects its own pods."""
    spec = MANIFESTS[name]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
