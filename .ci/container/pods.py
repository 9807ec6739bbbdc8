"""Runs the examples for Kubernetes as pods, changed only where podman does not support them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from engine import CLOUD, WORK, ask, check, podman, until
from tasks import EXAMPLE, FAILED, FINISHED, INSTANCE

EXAMPLES = Path("examples/kubernetes")


def example(name: str) -> dict[str, Any]:
    """Return an example with the address of the cloud.

    Three differences of podman 4.3 are avoided: it mounts a Secret without decoding it, restarts an init container that has
    succeeded, and then tries to remove it.
    """
    deployment: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    deployment["metadata"]["annotations"] = {"io.podman.annotations.init.container.type": "always"}
    pod = pod_of(deployment)
    pod["restartPolicy"] = "Never"
    for container in pod["initContainers"]:
        container["env"] = [{"name": "GCORE_BASE_URL", "value": f"http://{CLOUD}"}]
    for volume in pod["volumes"]:
        if volume.pop("secret", None):
            volume["hostPath"] = {"path": str(WORK / "key"), "type": "Directory"}
    return deployment


@contextmanager
def played(deployment: dict[str, Any], *, ok: bool = True) -> Iterator[str]:
    """Run the pods of a deployment, which with ``ok`` must start; yield the prefix of the names of its containers."""
    file = WORK / "pod.yaml"
    file.write_text(yaml.safe_dump(deployment), encoding="utf-8")
    name = f"{deployment['metadata']['name']}-pod-0"
    podman("play", "kube", "--network=host", str(file), ok=ok)
    try:
        yield name
    finally:
        podman("play", "kube", "--down", str(file))
        podman("volume", "prune", "--force")


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of the pod."""
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def answers(probe: dict[str, Any]) -> bool:
    """Whether a probe passes."""
    return ask("GET", f"127.0.0.1:{probe['port']}{probe['path']}")[0] == HTTPStatus.OK


def logged(container: str, word: str) -> bool:
    """Whether a container has written the word."""
    return word in podman("logs", container).stdout


def check_pods() -> None:
    """Check both examples with an application."""
    check_init_container()
    check_failed_init_container()
    check_sidecar_container()


def check_init_container() -> None:
    """Check that the application starts once the task has ended, and gets the created resource."""
    with played(example("init-container.yaml")) as pod:
        until("the application starts after its init container", lambda: logged(f"{pod}-app", INSTANCE))
        asked = "--format={{.State.ExitCode}} {{.HostConfig.ReadonlyRootfs}} {{.EffectiveCaps}}"
        check(
            "the init container ran as in the example",
            found=podman("inspect", asked, f"{pod}-wait").stdout,
            expected="0 true []\n",
        )


def check_failed_init_container() -> None:
    """Check that the application does not start when the task has failed."""
    deployment = example("init-container.yaml")
    args = pod_of(deployment)["initContainers"][0]["args"]
    args[args.index(EXAMPLE)] = FAILED
    with played(deployment, ok=False) as pod:
        asked = "--format={{.State.Status}} {{.State.ExitCode}}"
        states = [podman("inspect", asked, f"{pod}-{name}").stdout for name in ("wait", "app")]
    check("an application whose task has failed does not start", found=states, expected=["exited 1\n", "created 0\n"])


def check_sidecar_container() -> None:
    """Check that the probes pass once the task has ended, and that the application gets the result and can request a wait.

    Podman has no native sidecars, so the application waits for the result, and the probes are requested from here, in the same
    network.
    """
    deployment = example("sidecar.yaml")
    pod = pod_of(deployment)
    (sidecar,), (application,) = pod.pop("initContainers"), pod["containers"]
    del sidecar["restartPolicy"], sidecar["ports"]
    probes = {kind: sidecar.pop(f"{kind}Probe")["httpGet"] for kind in ("startup", "readiness", "liveness")}
    ask_for_wait = (
        f"""wget -qO- --header 'Content-Type: application/json' --post-data '["{FINISHED}"]' 127.0.0.1:8080/v1/waits"""
    )
    application["command"] = ["sh", "-c", f"until cat /result/waiter.json; do sleep 1; done; {ask_for_wait}; exec sleep 60"]
    pod["containers"].append(sidecar)
    with played(deployment) as name:
        for kind, probe in probes.items():
            until(f"the {kind} probe passes", partial(answers, probe))
        until("the application has the result", lambda: logged(f"{name}-app", INSTANCE))
        until("the application requests a wait", lambda: logged(f"{name}-app", FINISHED))
