"""``waiter completion``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from command_parts import Run

from waiter.cli.registry import COMMANDS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts_name_every_command(run: Run, tmp_path: Path, shell: str) -> None:
    """Each script is valid in its shell, where the shell is installed."""
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert [name for name in COMMANDS if name not in ran.out] == []
    assert "max-outage" in ran.out
    script = tmp_path / "waiter"
    script.write_text(ran.out)
    if shell in {"bash", "zsh", "fish"} and shutil.which(shell):
        subprocess.run([shell, "-n", str(script)], check=True)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("wait --max-o", "--max-outage"),
        ("list --state R", "RUNNING"),
        ("wait --api-key-file k", "key.txt"),
        ("simulate clou", "cloud.toml"),
        ("sidecar --state-dir s", "states"),
    ],
)
def test_bash_completes_options_choices_and_files(run: Run, tmp_path: Path, words: str, completed: str) -> None:
    """In a real shell; where a file or a folder is meant, it is completed."""
    script = tmp_path / "waiter"
    script.write_text(run("completion", "bash").out)
    for name in ("key.txt", "cloud.toml"):
        (tmp_path / name).touch()
    (tmp_path / "states").mkdir()
    count = len(words.split())
    keys = f"source {script}; COMP_WORDS=(waiter {words}); COMP_CWORD={count}; _shtab_waiter; echo ${{COMPREPLY[@]}}"
    ran = subprocess.run(["bash", "-c", keys], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout == f"{completed}\n"
