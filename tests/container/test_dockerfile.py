"""The Dockerfile: pinned inputs that match the project."""

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

GIVEN = {
    "version": "VERSION",
    "revision": "REVISION",
    "created": "CREATED",
    "source": "SOURCE",
    "base.name": "BASE",
}


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([\w.+!-]+)", LOCKS[lock].read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize(
    "requirement", [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["sidecar"]]
)
def test_runtime_dependencies_are_pinned(requirement: str) -> None:
    """Every dependency of the command and of the sidecar is pinned to a supported version."""
    wanted = Requirement(requirement)
    assert pins("requirements.lock")[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("requirement", PROJECT["build-system"]["requires"])
def test_build_dependencies_are_pinned(requirement: str) -> None:
    """The build backend is pinned too."""
    wanted = Requirement(requirement)
    assert pins("build.lock")[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_have_hashes(lock: str) -> None:
    """Every pin has hashes, and no index is named."""
    text = LOCKS[lock].read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"--(extra-)?index-url|--find-links|://", text)


def test_installation_uses_the_locks() -> None:
    """Only wheels with a known hash are installed from an index, so no compiler is needed."""
    installs = re.findall(r"pip .*?install (.*?)(?= \\\n|\n)", DOCKERFILE)
    assert len(installs) == 3
    assert all({"--require-hashes", "--only-binary"} <= set(one.split()) or "--no-index" in one for one in installs)


def test_base_is_pinned() -> None:
    """The base is an argument, pinned by digest."""
    assert re.search(
        r"^ARG BASE=docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE
    )
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "scratch"]


def test_user_is_the_one_of_the_manifests() -> None:
    """The user is given by number."""
    assert f"\nUSER {USER}:{USER}\n" in DOCKERFILE
    assert f"\nUSER = {USER}\n" in (ROOT / ".ci" / "container" / "rootfs.py").read_text(encoding="utf-8")


def test_build_context_has_only_copied_files() -> None:
    """The build context contains exactly what the Dockerfile copies."""
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


def test_image_says_what_it_was_made_of() -> None:
    """The labels are those of the Open Containers Initiative, with values that a build is given."""
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="(.*)"', DOCKERFILE))
    given = {name: f"${{{argument}}}" for name, argument in GIVEN.items()}
    assert labels.items() >= given.items()
    assert labels.keys() - given.keys() == {"title", "description", "licenses"}
    final = DOCKERFILE.partition("FROM scratch\n")[2]
    assert set(re.findall(r"^ARG (\w+)", final, re.MULTILINE)) == set(GIVEN.values())
