"""The page on reliability: each row names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "examples" / "reliability" / "README.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "test |" not in line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.strip("| ").partition(" |")[0][:40])
def test_every_row_is_linked_to_its_test(row: str) -> None:
    """The link leads to the file, and its text is the name of a test there."""
    found = re.search(r"\[`(\w+)`\]\((\S+)\) \|$", row)
    assert found
    assert f"def {found[1]}(" in (PAGE.parent / found[2]).read_text()
