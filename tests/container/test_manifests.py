"""The examples for Kubernetes: valid, restricted and consistent."""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from container_parts import CONTAINERS, IMAGE, KUBERNETES, KUSTOMIZATION, MANIFESTS, USER, WAITERS, Container, parsed, pods

from waiter.console.exit_codes import ExitCode

KNOWN = {name: one for name, one in MANIFESTS.items() if one["kind"] != "PodMonitor"}
SIDECAR = next(one for one in WAITERS if one.spec["args"][0] == "sidecar")


def named(one: Container) -> str:
    return one.name


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", KNOWN)
def test_manifest_is_valid(name: str, version: str) -> None:
    """Every manifest is valid for the first version with native sidecars and for the newest known version."""
    kubernetes_validate.validate(KNOWN[name], version, strict=True)


def test_all_manifests_are_covered() -> None:
    """The tests below cover every manifest and every container."""
    assert set(MANIFESTS) == {
        "init-container/Deployment",
        "job/Job",
        "networkpolicy/NetworkPolicy",
        "podmonitor/PodMonitor",
        "secret/Secret",
        "sidecar/Deployment",
    }
    assert {
        "init-container/Deployment/app",
        "init-container/Deployment/wait",
        "job/Job/wait",
        "sidecar/Deployment/app",
        "sidecar/Deployment/waiter",
    } == {one.name for one in CONTAINERS}


@pytest.mark.parametrize("one", CONTAINERS, ids=named)
def test_container_is_restricted(one: Container) -> None:
    """Every container meets the restricted pod security standard and has a read-only root."""
    assert one.spec["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("pod", pods().values(), ids=pods())
def test_pod_is_restricted(pod: dict[str, Any]) -> None:
    """Every pod runs as the image's user, without a service account token."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("one", CONTAINERS, ids=named)
def test_resources_are_limited(one: Container) -> None:
    """Every container has requests and a memory limit; a CPU limit would slow down its start."""
    assert {"cpu", "memory"} == one.spec["resources"]["requests"].keys()
    assert {"memory"} == one.spec["resources"]["limits"].keys()


@pytest.mark.parametrize("one", WAITERS, ids=named)
def test_key_is_a_mounted_file(one: Container) -> None:
    """Only the image's group can read the file, and the environment does not contain the key."""
    file = parsed(one.spec["args"]).api_key_file
    secret = one.volume_of(file)["secret"]
    assert not one.spec.keys() & {"env", "envFrom"}
    assert one.mount_of(file)["readOnly"] is True
    assert secret == {"secretName": MANIFESTS["secret/Secret"]["metadata"]["name"], "defaultMode": 0o440}
    assert file == f"{one.mount_of(file)['mountPath']}/{next(iter(MANIFESTS['secret/Secret']['stringData']))}"


def test_applications_have_no_key() -> None:
    """Only containers of waiter mount the key."""
    others = [mount["name"] for one in CONTAINERS if not one.is_waiter for mount in one.spec["volumeMounts"]]
    assert "gcore-api" not in others


def test_images_have_the_current_version() -> None:
    """All manifests use the same version."""
    assert {IMAGE} == {one.spec["image"] for one in WAITERS}


@pytest.mark.parametrize("one", WAITERS, ids=named)
def test_arguments_are_valid(one: Container) -> None:
    """The command accepts the arguments."""
    assert parsed(one.spec["args"]).task_ids == ["26986bc0-748a-4448-b836-0a2aa465eb06"]
    assert "command" not in one.spec


def test_probes_use_the_default_port() -> None:
    """Each probe has its own path, at the default port of the sidecar."""
    probes = {kind: SIDECAR.spec[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    port = parsed(["sidecar"]).probe_listen.port
    assert probes == {
        "startup": {"path": "/startupz", "port": port},
        "readiness": {"path": "/readyz", "port": port},
        "liveness": {"path": "/livez", "port": port},
    }
    assert port == 8081
    assert SIDECAR.spec["ports"] == [{"name": "probes", "containerPort": port}]


def test_sidecar_is_a_native_sidecar() -> None:
    """It is an init container that is always restarted; the application starts after its startup probe."""
    assert SIDECAR.spec["restartPolicy"] == "Always"
    assert SIDECAR.spec in SIDECAR.pod["initContainers"]


def test_startup_probe_outlasts_the_timeout() -> None:
    """The kubelet does not kill a sidecar that is still waiting for its task."""
    probe = SIDECAR.spec["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > parsed(SIDECAR.spec["args"]).timeout


@pytest.mark.parametrize("option", ["state_dir", "result_file"])
def test_written_files_are_on_volumes(option: str) -> None:
    """The sidecar writes to writable volumes only."""
    path = getattr(parsed(SIDECAR.spec["args"]), option)
    assert "readOnly" not in SIDECAR.mount_of(path)
    assert "emptyDir" in SIDECAR.volume_of(path)


def test_applications_read_the_result_of_waiter() -> None:
    """The application mounts the volume that waiter writes to."""
    app = next(one for one in CONTAINERS if one.name == "sidecar/Deployment/app")
    file = parsed(SIDECAR.spec["args"]).result_file
    assert file in app.spec["command"][-1]
    assert SIDECAR.volume_of(file) == app.volume_of(file)
    wait, app = (one for one in CONTAINERS if one.name.startswith("init-container"))
    assert "/result/instances" in wait.spec["args"][-1]
    assert "/result/instances" in app.spec["command"][-1]
    assert wait.volume_of("/result/instances") == app.volume_of("/result/instances")


def test_job_is_retried_only_when_it_can_succeed() -> None:
    """The job fails for exit codes that a retry cannot change, and retries for the others."""
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


def test_metrics_are_scraped() -> None:
    """Annotations and PodMonitor both select the probe listener of the sidecar's pods."""
    monitor, template = MANIFESTS["podmonitor/PodMonitor"]["spec"], MANIFESTS["sidecar/Deployment"]["spec"]["template"]
    assert monitor["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert monitor["podMetricsEndpoints"] == [{"port": "probes", "path": "/metrics", "interval": "30s"}]
    annotations = {
        f"prometheus.io/{name}": value for name, value in {"scrape": "true", "port": "8081", "path": "/metrics"}.items()
    }
    assert template["metadata"]["annotations"] == annotations


@pytest.mark.parametrize("name", ["init-container/Deployment", "sidecar/Deployment"])
def test_selector_matches_the_pods(name: str) -> None:
    """A deployment selects its own pods."""
    spec = MANIFESTS[name]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_network_policy_opens_only_the_probe_port() -> None:
    """It selects the pods of the sidecar; the control listener needs no rule, because it is on loopback."""
    policy = MANIFESTS["networkpolicy/NetworkPolicy"]["spec"]
    template = MANIFESTS["sidecar/Deployment"]["spec"]["template"]
    assert policy["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    assert policy["policyTypes"] == ["Ingress"]
    ports = [port for rule in policy["ingress"] for port in rule["ports"]]
    assert ports == [{"port": parsed(["sidecar"]).probe_listen.port, "protocol": "TCP"}]
    assert parsed(["sidecar"]).listen.is_private


def test_kustomization_refers_to_existing_manifests() -> None:
    """The tag is that of the image, so that a new version is set in one place."""
    assert all((KUBERNETES / name).is_file() for name in KUSTOMIZATION["resources"])
    name, _, tag = IMAGE.rpartition(":")
    assert KUSTOMIZATION["images"] == [{"name": name, "newTag": tag}]
