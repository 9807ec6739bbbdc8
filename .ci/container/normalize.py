"""Removes what differs between two builds of one image: ``normalize.py OLD NEW TAG``, archives of ``podman save``.

Buildah records the random ID of its container in an image of Docker's format, which is the one with a health check.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import IO


def add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    """Add a file without a time or an owner."""
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, content)


def normalize(old: tarfile.TarFile, new: tarfile.TarFile, tag: str) -> None:
    """Write the image under a tag, with a configuration that has no trace of its build."""

    def read(name: str) -> IO[bytes]:
        file = old.extractfile(name)
        if file is None:
            sys.exit(f"NOT OK: {name} is not a file")
        return file

    (entry,) = json.load(read("manifest.json"))
    config = json.load(read(entry["Config"]))
    for name in ("container", "container_config"):
        config.pop(name, None)
    config["config"].pop("Hostname", None)
    content = json.dumps(config, sort_keys=True).encode()
    entry["Config"] = f"{hashlib.sha256(content).hexdigest()}.json"
    entry["RepoTags"] = [tag]
    manifest = json.dumps([entry]).encode()
    add(new, entry["Config"], len(content), io.BytesIO(content))
    for layer in dict.fromkeys(entry["Layers"]):
        add(new, layer, old.getmember(layer).size, read(layer))
    add(new, "manifest.json", len(manifest), io.BytesIO(manifest))


if __name__ == "__main__":
    with tarfile.open(sys.argv[1]) as source, tarfile.open(Path(sys.argv[2]), "w") as target:
        normalize(source, target, sys.argv[3])
