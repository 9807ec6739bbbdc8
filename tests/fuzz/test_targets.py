"""A short run of each fuzz target over its corpus; ``run.py`` makes long ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

_SPEC = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).with_name("run.py"))
assert _SPEC
assert _SPEC.loader
run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(run)
targets = run.load_targets()


@pytest.mark.parametrize("target", targets)
def test_target_withstands_its_corpus_and_mutations_of_it(target: str) -> None:
    """Two hundred mutations of the kept inputs; the number is fixed, so that the run is the same everywhere."""
    assert run.fuzz(target, targets[target], executions=200) >= 200


@pytest.mark.parametrize("target", targets)
@given(data=st.binary(max_size=200))
def test_target_withstands_any_bytes(target: str, data: bytes) -> None:
    """Hypothesis makes them up."""
    targets[target](data)


def test_failing_input_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of the corpus from then on."""
    monkeypatch.setattr(run, "CORPUS", tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "seed").write_bytes(b"seed")

    def target(data: bytes) -> None:
        if data != b"seed":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.fuzz("broken", target, executions=10)
    assert len(run.corpus_of("broken")) == 2
