"""The examples for Kubernetes: valid, restricted and consistent."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from container_parts import CONTAINERS, IMAGE, KUBERNETES, KUSTOMIZATION, MANIFESTS, USER, WAITERS, Container, parsed, pods

from waiter.console.exit_codes import ExitCode

# Kinds of the Prometheus operator have no schema in Kubernetes; .ci/alerts checks the rules.
KNOWN = {name: one for name, one in MANIFESTS.items() if one["kind"] not in {"PodMonitor", "PrometheusRule"}}
SIDECAR = next(one for one in WAITERS if one.name == "sidecar/Deployment/waiter")
STANDALONE = next(one for one in WAITERS if one.name == "standalone/Deployment/waiter")


def named(one: Container) -> str:
    return one.name


@pytest.mark.parametrize("version", ["1.29", "1.32", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", KNOWN)
def test_manifest_is_valid(name: str, version: str) -> None:
    """Every manifest is valid for the first version with native sidecars, one between, and the newest known version."""
    kubernetes_validate.validate(KNOWN[name], version, strict=True)


def test_all_manifests_are_covered() -> None:
    """The tests below cover every manifest and every container."""
    assert set(MANIFESTS) == {
        "init-container/Deployment",
        "job/Job",
        "networkpolicy/NetworkPolicy",
        "poddisruptionbudget/PodDisruptionBudget",
        "podmonitor/PodMonitor",
        "prometheusrule/PrometheusRule",
        "secret/Secret",
        "sidecar/Deployment",
        "standalone/Deployment",
        "standalone/NetworkPolicy",
        "standalone/PersistentVolumeClaim",
        "standalone/Secret",
        "standalone/Service",
    }
    assert {
        "init-container/Deployment/app",
        "init-container/Deployment/wait",
        "job/Job/wait",
        "sidecar/Deployment/app",
        "sidecar/Deployment/waiter",
        "standalone/Deployment/waiter",
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
    """Every pod runs as the image's user, without a service account token and variables that services of the namespace add."""
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("one", CONTAINERS, ids=named)
def test_resources_are_limited(one: Container) -> None:
    """Every container has requests, and limits of memory and disk; a CPU limit would slow down its start."""
    assert {"cpu", "memory", "ephemeral-storage"} == one.spec["resources"]["requests"].keys()
    assert {"memory", "ephemeral-storage"} == one.spec["resources"]["limits"].keys()


@pytest.mark.parametrize("pod", pods().values(), ids=pods())
def test_volumes_fit_in_the_limit_of_the_pod(pod: dict[str, Any]) -> None:
    """What is in an emptyDir counts towards the ephemeral storage of the pod, which is evicted beyond its limit."""
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    limit = sum(int(one["resources"]["limits"]["ephemeral-storage"].removesuffix("Mi")) for one in containers)
    sizes = [int(one["emptyDir"]["sizeLimit"].removesuffix("Mi")) for one in pod["volumes"] if "emptyDir" in one]
    assert sum(sizes) < limit


@pytest.mark.parametrize("one", WAITERS, ids=named)
def test_secrets_can_be_rotated(one: Container) -> None:
    """The kubelet replaces the files of a mounted directory, and never those of a subPath."""
    assert not any("subPath" in mount for mount in one.spec["volumeMounts"])


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
    assert parsed(one.spec["args"]).task_ids == ([] if one is STANDALONE else ["26986bc0-748a-4448-b836-0a2aa465eb06"])
    assert "command" not in one.spec


@pytest.mark.parametrize("one", [SIDECAR, STANDALONE], ids=named)
def test_probes_use_the_default_port(one: Container) -> None:
    """Each probe has its own path, at the default port of the sidecar."""
    probes = {kind: one.spec[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    port = parsed(["sidecar"]).probe_listen.port
    assert probes == {
        "startup": {"path": "/startupz", "port": port},
        "readiness": {"path": "/readyz", "port": port},
        "liveness": {"path": "/livez", "port": port},
    }
    assert port == 8081
    assert {"name": "probes", "containerPort": port} in one.spec["ports"]
    assert one.spec["ports"] == [{"name": "probes", "containerPort": port}] or one is STANDALONE


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
    (selected,) = monitor["selector"]["matchExpressions"]
    both = [MANIFESTS[f"{name}/Deployment"]["spec"]["template"]["metadata"]["labels"] for name in ("sidecar", "standalone")]
    assert [{selected["key"]: value} for value in selected["values"]] == both
    assert monitor["podMetricsEndpoints"] == [{"port": "probes", "path": "/metrics", "interval": "30s"}]
    annotations = {
        f"prometheus.io/{name}": value for name, value in {"scrape": "true", "port": "8081", "path": "/metrics"}.items()
    }
    assert template["metadata"]["annotations"] == annotations


@pytest.mark.parametrize("name", ["init-container/Deployment", "sidecar/Deployment", "standalone/Deployment"])
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


def test_standalone_has_a_volume_of_its_own() -> None:
    """Two processes never use the volume at the same time."""
    spec = MANIFESTS["standalone/Deployment"]["spec"]
    claim = STANDALONE.volume_of(parsed(STANDALONE.spec["args"]).state_dir)["persistentVolumeClaim"]
    assert claim == {"claimName": MANIFESTS["standalone/PersistentVolumeClaim"]["metadata"]["name"]}
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_standalone_is_reachable_with_a_token_only() -> None:
    """By its clients; Prometheus reaches the probe listener."""
    args = parsed(STANDALONE.spec["args"])
    secret = MANIFESTS["standalone/Secret"]
    assert (args.listen.is_private, args.token_file) == (False, "/run/secrets/waiter/token")
    assert STANDALONE.volume_of(args.token_file)["secret"] == {"secretName": secret["metadata"]["name"], "defaultMode": 0o440}
    labels = MANIFESTS["standalone/Deployment"]["spec"]["template"]["metadata"]["labels"]
    service, policy = (MANIFESTS[f"standalone/{kind}"]["spec"] for kind in ("Service", "NetworkPolicy"))
    assert (service["selector"], policy["podSelector"]["matchLabels"]) == (labels, labels)
    (port,) = service["ports"]
    assert {"name": port["targetPort"], "containerPort": args.listen.port} in STANDALONE.spec["ports"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == [args.listen.port, args.probe_listen.port]
    assert [list(*rule["from"]) for rule in policy["ingress"]] == [["podSelector"], ["namespaceSelector"]]


def test_webhook_of_standalone_is_valid() -> None:
    """The arguments that are commented out name a key of its Secret."""
    text = (KUBERNETES / "standalone.yaml").read_text(encoding="utf-8")
    args = parsed(["sidecar", *re.findall(r"^ +# - (--webhook\S+)", text, re.MULTILINE)])
    assert args.webhook.startswith("http://")
    directory, _, key = args.webhook_secret_file.rpartition("/")
    assert directory == STANDALONE.mount_of(args.webhook_secret_file)["mountPath"]
    assert {"token", key} == MANIFESTS["standalone/Secret"]["stringData"].keys()


def test_budget_never_blocks_a_drain() -> None:
    """It selects the only replica, which may be evicted at any time."""
    spec = MANIFESTS["poddisruptionbudget/PodDisruptionBudget"]["spec"]
    assert spec["selector"] == MANIFESTS["standalone/Deployment"]["spec"]["selector"]
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"], "minAvailable" in spec) == (1, "AlwaysAllow", False)


def test_kustomization_names_every_manifest() -> None:
    """Those that not everybody needs are commented out."""
    text = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    named_there = set(re.findall(r"^  (?:# )?- (\S+\.yaml)$", text, re.MULTILINE))
    assert named_there == {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
