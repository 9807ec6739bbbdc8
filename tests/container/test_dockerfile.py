"""What the image is built from: pinned, and in step with the project."""

from __future__ import annotations

import re
import tomllib

import pytest
from container_parts import ROOT, USER
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {"requirements.lock": ROOT / "requirements.lock", "build.lock": ROOT / ".ci" / "container" / "build.lock"}


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([\w.+!-]+)", LOCKS[lock].read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize(
    "requirement", [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["sidecar"]]
)
def test_what_runs_is_pinned(requirement: str) -> None:
    """Every dependency of the command and of the sidecar is pinned, to a version that is promised."""
    wanted = Requirement(requirement)
    assert pins("requirements.lock")[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("requirement", PROJECT["build-system"]["requires"])
def test_what_builds_is_pinned(requirement: str) -> None:
    """So is what builds the package."""
    wanted = Requirement(requirement)
    assert pins("build.lock")[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_hashed(lock: str) -> None:
    """Every pin has hashes, and nothing says where packages come from: that is for whoever builds."""
    text = LOCKS[lock].read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"--(extra-)?index-url|--find-links|://", text)


def test_locks_are_obeyed() -> None:
    """Nothing is installed from an index but by its hash and as a wheel, so that no compiler is needed."""
    installs = re.findall(r"pip .*?install (.*?)(?= \\\n|\n)", DOCKERFILE)
    assert len(installs) == 3
    assert all({"--require-hashes", "--only-binary"} <= set(one.split()) or "--no-index" in one for one in installs)


def test_base_is_pinned() -> None:
    """The base is an argument, pinned by digest."""
    assert re.search(
        r"^ARG BASE=docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE
    )
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "scratch"]


def test_user() -> None:
    """The user is a number that the manifests name too."""
    assert f"\nUSER {USER}:{USER}\n" in DOCKERFILE
    assert f"\nUSER = {USER}\n" in (ROOT / ".ci" / "container" / "rootfs.py").read_text(encoding="utf-8")


def test_nothing_slips_in() -> None:
    """The build sees what the Dockerfile copies and nothing else."""
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    ]
    copied = {
        ".ci/container" if name.startswith(".ci/container") else name
        for names in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    }
    assert first == "*"
    assert {line.removeprefix("!") for line in rest if line.startswith("!")} == copied
