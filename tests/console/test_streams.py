"""Standard output and standard error, which may be closed, gone or full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_parts import GOOD, Run

from waiter.console import stderr, streams


def test_closed_pipe_changes_no_exit_code(start: Callable[..., subprocess.Popen[str]]) -> None:
    """On standard output or standard error, without a traceback."""
    for closed in ("stdout", "stderr"):
        with start("wait", GOOD) as child:
            getattr(child, closed).close()
            other = child.stderr if closed == "stdout" else child.stdout
            assert other is not None
            assert "Traceback" not in other.read()
        assert child.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_full_disk_exits_70(process: Run) -> None:
    """A result that cannot be written is one line."""
    with Path("/dev/full").open("w") as full:
        ran = process("wait", GOOD, "-q", stdout=full)
    assert (ran.code, ran.err) == (70, "waiter: cannot write the result: No space left on device\n")


class Pipe:
    """A stream whose other end fails."""

    encoding = "ascii"
    closed = False

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error
        self.written = ""

    def write(self, text: str) -> None:
        self.written += text

    def flush(self) -> None:
        if self.error:
            raise self.error

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError(9, "Bad file descriptor")


def test_only_a_full_stream_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams may be missing, closed, of a limited encoding, or gone."""
    out = Pipe()
    monkeypatch.setattr(streams, "sys", type("Streams", (), {"stdout": out, "stderr": None}))
    streams.write_stderr("nobody hears it")
    streams.write_result("caf\xe9")
    assert out.written == "caf\\xe9"
    out.error = BrokenPipeError(32, "Broken pipe")
    streams.write_result("gone")
    out.error = OSError(28, "No space left on device")
    with pytest.raises(streams.OutputError, match="cannot write the result: No space left on device"):
        streams.write_result("full")
    streams.flush_stdout()
    out.closed = True
    streams.write_result("closed")
    assert out.written == "caf\\xe9gonefull"
    assert [streams.is_terminal(stream) for stream in (None, out, Pipe())] == [False, False, True]  # type: ignore[arg-type]


def test_unwritten_text_of_a_closed_pipe_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left for the interpreter to flush at exit."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(streams, "sys", type("Streams", (), {"stdout": out, "stderr": out}))
        streams.write_result("a result")
        stderr.info("too late")
