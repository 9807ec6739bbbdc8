"""Releasing: version, changelog and tag agree, dependencies have reasons, actions are pinned, and the checks can fail."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from waiter._version import __version__

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
WORKFLOWS = [*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("examples/*/*.yml")]
VERSION = '__version__ = "1.2.3"\n'
RELEASED = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n### Added\n\n- A.\n"

problems = runpy.run_path(str(ROOT / ".ci" / "release"))["problems"]


def test_tag_version_and_changelog_that_agree_are_released() -> None:
    assert problems("v1.2.3", VERSION, RELEASED) == []


@pytest.mark.parametrize(
    ("tag", "version", "changelog", "problem"),
    [
        ("v1.2.4", VERSION, RELEASED, "the tag is v1.2.4"),
        ("1.2.3", VERSION, RELEASED, "the tag is 1.2.3"),
        ("v1.2.4", VERSION.replace("3", "4"), RELEASED, r"the newest section .* \[1.2.4\]"),
        ("v1.2.3", VERSION, RELEASED.replace(" - 2026-01-31", ""), r"the newest section .* \[1.2.3\]"),
        ("v1.2.3", VERSION, RELEASED.replace("[Unreleased]\n", "[Unreleased]\n\n- B.\n"), "entries under Unreleased"),
    ],
)
def test_what_disagrees_is_not_released(tag: str, version: str, changelog: str, problem: str) -> None:
    (found,) = problems(tag, version, changelog)
    assert re.search(problem, found)


def test_newest_section_of_the_changelog_is_not_newer_than_the_version() -> None:
    """Below Unreleased, sections are in falling order, and the first is this version or an older one."""
    versions = [Version(found) for found in re.findall(r"^## \[(\d[\w.]*)\]", CHANGELOG, re.MULTILINE)]
    assert versions == sorted(versions, reverse=True)
    assert all(version <= Version(__version__) for version in versions)
    assert "## [Unreleased]" in CHANGELOG


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_actions_are_pinned_to_commits(workflow: Path) -> None:
    """A tag can be moved to other code, a commit cannot."""
    used = re.findall(r"^ *(?:- )?uses: (\S+)", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one)] == []


RELEASE = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
SIGNING = {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"}


def test_only_the_jobs_that_publish_have_an_identity() -> None:
    """No token is stored, and no other job can publish."""
    assert RELEASE["permissions"] == {}
    assert {name: job["permissions"] for name, job in RELEASE["jobs"].items()} == {
        "build": {"contents": "read"},
        "image": {"contents": "read"},
        "publish": {"id-token": "write"},
        "publish-image": SIGNING,
    }
    published = {name for name, job in RELEASE["jobs"].items() if job.get("environment") == "release"}
    assert published == {"publish", "publish-image"}
    assert "secrets." not in str(RELEASE)


def commands(job: str) -> str:
    return "\n".join(step["run"] for step in RELEASE["jobs"][job]["steps"] if "run" in step)


def test_nothing_is_published_before_every_gate_has_passed() -> None:
    """The tag, the tests, the locks and the packages of the image are checked by the jobs that both publishing jobs need."""
    needs = {name: job.get("needs") for name, job in RELEASE["jobs"].items()}
    assert needs == {"build": None, "image": "build", "publish": ["build", "image"], "publish-image": ["build", "image"]}
    assert not any(
        "continue-on-error" in part or "if" in part for job in RELEASE["jobs"].values() for part in [job, *job["steps"]]
    )
    gates = [".ci/release ", ".ci/fast", ".ci/vulnerabilities"]
    assert [gate for gate in gates if gate not in commands("build")] == []
    assert ".ci/container/release image" in commands("image")
    assert "security_updates.py" in (ROOT / ".ci" / "container" / "release").read_text(encoding="utf-8")


def test_image_is_published_under_the_version_of_the_tag() -> None:
    """The tag without its v, which `.ci/release` has compared with the version of the package and the changelog."""
    assert '.ci/container/push image "$name:${GITHUB_REF_NAME#v}"' in commands("publish-image")
    (step,) = [step for step in RELEASE["jobs"]["publish-image"]["steps"] if step.get("id") == "push"]
    assert step["shell"] == "bash"


def test_published_image_is_attested() -> None:
    """Its provenance, and for each processor its bill of materials, signed by the identity of the workflow."""
    steps = [step["with"] for step in RELEASE["jobs"]["publish-image"]["steps"] if "actions/attest@" in step.get("uses", "")]
    assert [(step["subject-digest"], step.get("sbom-path")) for step in steps] == [
        ("${{ steps.push.outputs.digest }}", None),
        ("${{ steps.push.outputs.digest_amd64 }}", "image/amd64.cdx.json"),
        ("${{ steps.push.outputs.digest_arm64 }}", "image/arm64.cdx.json"),
    ]
    assert all(step["push-to-registry"] and step["subject-name"] == "${{ steps.push.outputs.name }}" for step in steps)
    assert "linux/amd64 linux/arm64" in (ROOT / ".ci" / "container" / "release").read_text(encoding="utf-8")


def test_each_dependency_has_a_reason() -> None:
    """A comment behind each requirement of those who install waiter."""
    tables = tomllib.loads(PROJECT)["project"]
    wanted = [*tables["dependencies"], *tables["optional-dependencies"]["sidecar"], *tables["optional-dependencies"]["release"]]
    unexplained = [one for one in wanted if not re.search(rf'"{re.escape(one)}",? *\]? *# \S+', PROJECT)]
    assert unexplained == []


FOUND = "jinja2 2.4.1 PYSEC-2014-8"


@pytest.mark.parametrize(
    ("canary", "locks", "code"),
    [
        (f"echo {FOUND}; exit 1", "exit 0", 0),
        (f"echo {FOUND}; exit 1", "echo anyio CVE-2030-1; exit 1", 1),
        ("echo No known vulnerabilities found; exit 0", "exit 0", 2),
        ("echo Name or service not known; exit 1", "exit 0", 2),
    ],
    ids=["data, nothing found", "data, something found", "no data, no error", "no data, an error"],
)
def test_vulnerability_check_fails_without_data(tmp_path: Path, canary: str, locks: str, code: int) -> None:
    """An audit that does not know an old vulnerability proves nothing; a program in place of pip-audit gives its results."""
    program = tmp_path / "pip-audit"
    program.write_text(f'#!/bin/sh\ncase "$*" in\n*canary*) {canary} ;;\n*) {locks} ;;\nesac\n', encoding="utf-8")
    program.chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run([ROOT / ".ci" / "vulnerabilities"], env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, "no data" in ran.stderr) == (code, code == 2)
