"""Pushes the image to a registry as a release does, and pulls it by its digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from engine import IMAGE, WORK, ask, check, podman, until

REGISTRY = "127.0.0.1:5000"
CONFIGURATION = f"""\
version: 0.1
log: {{level: error}}
http: {{addr: {REGISTRY}}}
storage: {{filesystem: {{rootdirectory: {WORK}/registry/data}}}}
"""


@contextmanager
def served() -> Iterator[None]:
    """Run the registry."""
    file, log = WORK / "registry" / "configuration.yaml", WORK / "registry" / "log"
    file.write_text(CONFIGURATION, encoding="utf-8")
    # It takes every variable with this prefix as a part of its configuration, also podman's REGISTRY_AUTH_FILE.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    with log.open("wb") as output:
        command = [str(WORK / "registry/usr/bin/docker-registry"), "serve", str(file)]
        registry = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
    try:
        until("the registry answers", lambda: ask("GET", f"{REGISTRY}/v2/")[0] == HTTPStatus.OK)
        yield
    except BaseException:
        print(log.read_text(encoding="utf-8"), file=sys.stderr)
        raise
    finally:
        registry.terminate()
        registry.wait()


def identity(image: str) -> tuple[str, list[str]]:
    """Return the digest of an image's configuration, and its health check."""
    found = json.loads(podman("image", "inspect", image).stdout)[0]
    return found["Id"], found["Healthcheck"]["Test"]


def check_push() -> None:
    """Check that the pushed list has the tested image, under a digest, with its health check."""
    with served():
        command = [".ci/container/push", str(WORK / "release"), f"{REGISTRY}/waiter:1.2.3", "--tls-verify=false"]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        digests = dict(line.split("=") for line in printed.splitlines())
        (architecture,) = {name.removeprefix("digest_") for name in digests} - {"digest"}
        expected = identity(IMAGE)
        for name, digest in digests.items():
            pulled = f"{REGISTRY}/waiter@{digest}"
            podman("pull", "--tls-verify=false", pulled)
            check(f"the {name} in the registry is that of the image", found=identity(pulled), expected=expected)
        check("the tag is that of the list", found=tag_digest(), expected=digests["digest"])
        tested = podman("image", "inspect", "--format={{.Architecture}}", IMAGE).stdout.strip()
        check("the list names the processor", found=architecture, expected=tested)


def tag_digest() -> str:
    """Return the digest to which the tag leads."""
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{REGISTRY}/waiter:1.2.3"]
    return subprocess.run(inspect, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
