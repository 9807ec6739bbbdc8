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


def test_bash_completes_an_option(run: Run, tmp_path: Path) -> None:
    """In a real shell, the start of an option is completed."""
    script = tmp_path / "waiter"
    script.write_text(run("completion", "bash").out)
    keys = f"source {script}; COMP_WORDS=(waiter wait --max-o); COMP_CWORD=2; _shtab_waiter; echo ${{COMPREPLY[@]}}"
    ran = subprocess.run(["bash", "-c", keys], capture_output=True, text=True, check=True)
    assert ran.stdout == "--max-outage\n"
