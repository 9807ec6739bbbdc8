"""Fuzz what comes from outside: ``python tests/fuzz/run.py [--seconds 10] [--engine random|atheris] [TARGET...]``.

The random engine mutates the inputs of ``corpus/``; atheris follows the coverage, and adds to the corpus what reaches new code.
Prints the number of executions. An input that fails is kept in the corpus, and the run exits with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from math import inf
from pathlib import Path
from runpy import run_path
from types import FrameType
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
MAX_LENGTH = 4096
# Bytes that have a meaning somewhere.
WORDS = [
    b'"', b"{", b"}", b"[", b"]", b":", b",", b"null", b"1e999", b"NaN", b"-0", b"\\ud800", b"\xff\xfe", b"\xef\xbb\xbf", b"\0",
    b"\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b'"id":"t-1"', b'"state":"FINISHED"', b'"created_resources":', b'"tasks":', b'"results":', b'"count":', b"9" * 400, b"1h",
    b"Wed, 21 Oct 2026 07:28:00 GMT", b"\x1f\x8b\x08", b"\xf0\x9f\x98\x80",
]  # fmt: skip


def load_targets() -> dict[str, Callable[[bytes], None]]:
    """Return the targets by name."""
    targets: dict[str, Callable[[bytes], None]] = run_path(str(CORPUS.with_name("targets.py")))["TARGETS"]
    return targets


def corpus_of(target: str) -> list[bytes]:
    """Return the kept inputs of a target."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir())]


def mutate(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Return the input with one to four changes."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, len(found))
        match chance.randrange(6):
            case 0:
                found[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[place : place + chance.randint(1, 8)]
            case 2:
                found[place:place] = chance.choice(WORDS)
            case 3:
                other = chance.choice(others)
                cut = chance.randint(0, len(other))
                found[place:] = other[cut:]
            case 4:
                part = bytes(found[place : place + chance.randint(1, 16)])
                found[place:place] = part * chance.randint(1, 40)
            case _:
                found[place : place + 4] = chance.randbytes(chance.randint(0, 8))
    return bytes(found)


def fuzz(target: str, call: Callable[[bytes], None], *, seconds: float = inf, executions: float = inf, seed: int = 0) -> int:
    """Call a target with mutated inputs for so long or so often, and return how often. Raises what the target raises."""
    chance, inputs = random.Random(f"{target} {seed}"), corpus_of(target)
    until, done = time.monotonic() + seconds, 0
    while done < executions and time.monotonic() < until:
        data = inputs[done] if done < len(inputs) else mutate(chance.choice(inputs), inputs, chance)
        done += 1
        try:
            call(data)
        except BaseException:
            keep(target, data)
            raise
    return done


def keep(target: str, data: bytes) -> None:
    """Add an input to the corpus."""
    (CORPUS / target / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def follow_coverage(target: str, found: Path, seconds: float) -> None:
    """Call a target from atheris, which ends the process, and write the inputs that reach new code to the folder ``found``."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["waiter"]):
        call = load_targets()[target]
    limits = [f"-max_total_time={seconds:.0f}", "-timeout=10", "-rss_limit_mb=1024", f"-max_len={MAX_LENGTH}"]
    atheris.Setup([sys.argv[0], str(found), str(CORPUS / target), *limits, f"-artifact_prefix={CORPUS / target}/"], call)
    atheris.Fuzz()


def run_atheris(target: str, call: Callable[[bytes], None], seconds: float) -> int:
    """Run atheris in a process of its own, add what it found to the corpus, and return the number of executions.

    Raises CalledProcessError if an input fails; atheris has added it to the corpus.
    """
    with tempfile.TemporaryDirectory() as found:
        command = [sys.executable, __file__, "--seconds", str(seconds), "--found", found, target]
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, errors="replace")
        if done.returncode:
            print(done.stderr[-MAX_LENGTH:], file=sys.stderr)
            done.check_returncode()
        grow(target, call, Path(found))
    return int(re.findall(r"Done (\d+) runs", done.stderr)[-1])


def grow(target: str, call: Callable[[bytes], None], found: Path) -> None:
    """Add those inputs to the corpus, shortest first, that execute a sequence of two lines of waiter that is new to it."""
    known: set[object] = set()
    for data in corpus_of(target):
        known |= steps_of(call, data)
    for data in sorted((file.read_bytes() for file in found.iterdir()), key=len):
        if steps := steps_of(call, data) - known:
            known |= steps
            keep(target, data)


def steps_of(call: Callable[[bytes], None], data: bytes) -> set[object]:
    """Return the pairs of consecutive lines of waiter that a call executes."""
    steps: set[object] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call":
            last[frame] = 0
            return trace if frame.f_globals.get("__name__", "").startswith("waiter.") else None
        steps.add((frame.f_code, last[frame], frame.f_lineno))
        last[frame] = frame.f_lineno
        return trace

    last: dict[FrameType, int] = {}
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call(data)
    finally:
        sys.settrace(before)
    return steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["random", "atheris"], default="random")
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.found:
        follow_coverage(arguments.targets[0], arguments.found, arguments.seconds)
    targets = load_targets()
    total = 0
    for name in arguments.targets or targets:
        if arguments.engine == "atheris":
            executions = run_atheris(name, targets[name], arguments.seconds)
        else:
            executions = fuzz(name, targets[name], seconds=arguments.seconds, seed=arguments.seed)
        print(f"{name}: {executions} executions", flush=True)
        total += executions
    print(f"{total} executions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
