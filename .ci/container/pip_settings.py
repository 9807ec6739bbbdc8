"""Writes pip's settings of this machine to a file for the build, and prints the mounts that it needs.

They may come from several files and the environment, and name certificates and directories. These are mounted at other paths in
the build, because the image has its own certificates at the usual path.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

PASSED_ON = {
    *("cert", "client-cert", "default-timeout", "proxy", "retries", "timeout", "trusted-host"),
    *("extra-index-url", "find-links", "index-url", "no-index"),
}
PLACE = "/run/pip-settings"


def settings() -> dict[str, str]:
    """Return the settings of ``pip config list``; the environment overrides files."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    lines = [line.partition("=") for line in listing.splitlines() if "=" in line]
    found = {name.rpartition(".")[2]: ast.literal_eval(value) for name, _, value in lines if not name.startswith(":env:")}
    found |= {name.rpartition(".")[2]: ast.literal_eval(value) for name, _, value in lines if name.startswith(":env:")}
    certificates = os.environ.get("SSL_CERT_FILE")
    return ({"cert": certificates} if certificates else {}) | {name: found[name] for name in found.keys() & PASSED_ON}


def moved(word: str, mounts: dict[Path, str]) -> str:
    """Return a word of a setting as it is in the build; a path is mounted."""
    path = Path(word.removeprefix("file://"))
    if not path.is_absolute() or not path.exists():
        return word
    # The pages of an index on the disk link to files beside it.
    mounted = path.parent if word.startswith("file://") else path
    place = mounts.setdefault(mounted, f"{PLACE}/{len(mounts)}")
    scheme = "file://" if word.startswith("file://") else ""
    return scheme + place + str(path).removeprefix(str(mounted))


def main(target: Path) -> None:
    """Write the file and print the arguments."""
    mounts: dict[Path, str] = {}
    lines = [f"{name} = {' '.join(moved(word, mounts) for word in value.split())}\n" for name, value in settings().items()]
    target.write_text("[global]\n" + "".join(lines), encoding="utf-8")
    for path, place in mounts.items():
        print(f"--volume={path}:{place}:ro")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
