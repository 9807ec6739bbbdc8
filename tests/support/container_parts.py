"""The files for containers, parsed for their tests."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from waiter._version import __version__
from waiter.cli.parser import split_command
from waiter.cli.registry import load_command

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
IMAGE = f"registry.example.com/waiter:{__version__}"
USER = 65532


def read_all(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


KUBERNETES = EXAMPLES / "kubernetes"
(KUSTOMIZATION,) = read_all(KUBERNETES / "kustomization.yaml")
MANIFESTS = {
    f"{path.stem}/{one['kind']}": one
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for one in read_all(path)
    if path.stem != "kustomization"
}


class Container(NamedTuple):
    """A container of a manifest and its pod."""

    name: str
    spec: dict[str, Any]
    pod: dict[str, Any]

    @property
    def is_waiter(self) -> bool:
        return "/waiter:" in self.spec["image"]

    def mount_of(self, path: str) -> dict[str, Any]:
        """Return the mount that contains a path."""
        (mount,) = [
            one for one in self.spec["volumeMounts"] if path.startswith(f"{one['mountPath']}/") or path == one["mountPath"]
        ]
        return dict(mount)

    def volume_of(self, path: str) -> dict[str, Any]:
        """Return the volume that contains a path."""
        (volume,) = [one for one in self.pod["volumes"] if one["name"] == self.mount_of(path)["name"]]
        return dict(volume)


def pods() -> dict[str, dict[str, Any]]:
    return {name: one["spec"]["template"]["spec"] for name, one in MANIFESTS.items() if "template" in one.get("spec", {})}


def containers() -> Iterator[Container]:
    for name, pod in pods().items():
        for spec in [*pod.get("initContainers", []), *pod["containers"]]:
            yield Container(f"{name}/{spec['name']}", spec, pod)


CONTAINERS = list(containers())
WAITERS = [one for one in CONTAINERS if one.is_waiter]


def parsed(args: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments of the command; raises SystemExit for wrong usage."""
    (name, *rest), _ = split_command(args)
    return load_command(name).make_parser().parse(rest, {})
