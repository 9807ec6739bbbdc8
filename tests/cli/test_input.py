"""What may be piped in."""

from __future__ import annotations

import io
import json

import pytest
from command_parts import BROKEN, GOOD, Run

from waiter.cli.input import read_ids
from waiter.errors import ConfigurationError

WEB_PAGE = "standard input is a web page and no answer of the API: did the request before the pipe fail?"
NOTHING = "null: the query that should give the ID found nothing"
TOO_DEEP = "maximum recursion depth exceeded while decoding a JSON array from a unicode string"


@pytest.mark.parametrize(
    "text",
    [
        "a\nb\n",
        "  a b  ",
        '{"tasks": ["a", "b"]}',
        '[{"tasks": ["a"]}, {"tasks": ["b"]}]',
        '["a", "b"]',
        '"a" "b"',
        '{"tasks": ["a"]}{"tasks": ["b", "a"]}',
        '{"tasks": ["a"]}\n{"tasks": ["b"]}\n',
        '\ufeff{"tasks": ["a", "b"]}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_shapes(text: str, encoding: str) -> None:
    """IDs one a line, the API's answer, a list of answers, several answers one after the other; each ID once."""
    assert read_ids(["-"], io.BytesIO(text.encode(encoding))) == ["a", "b"]


def test_arguments_and_pipe_together() -> None:
    """``-`` stands where its IDs shall stand."""
    assert read_ids(["x", "-", "y"], io.BytesIO(b"a")) == ["x", "a", "y"]
    assert read_ids(["x"], None) == ["x"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "standard input is empty: did the request before the pipe fail?"),
        (b" \n", "standard input is empty: did the request before the pipe fail?"),
        (b"\xff\xff", "standard input is not text"),
        (b'{"tasks": [', "standard input is not JSON: Expecting value: line 1 column 12 (char 11)"),
        (b"{}", "standard input has no tasks: it has nothing"),
        (b'{"tasks": null}', "standard input has no tasks: tasks is no list"),
        (b'{"id": 1, "name": "\\u001b"}', "standard input has no tasks: it has id, name"),
        (
            b'{"exception_class": "QuotaExceeded", "message": "no\\u001b more"}',
            r"standard input has no tasks: the API answered QuotaExceeded no\x1b more",
        ),
        (b"<!doctype html>\n<title>Sign in</title>", WEB_PAGE),
        (b" \n<html>", WEB_PAGE),
        (b"null\n", f"not a task ID: {NOTHING}"),
        (b'{"tasks": [null]}', f"not a task ID: {NOTHING}"),
        (b"! " * 7, "; ".join(["not a task ID: '!'"] * 5) + "; and 2 more"),
        (b"!" * 100, f"not a task ID: '{'!' * 56}..."),
        (json.dumps({"k" * 99: 1}).encode(), f"standard input has no tasks: it has {'k' * 57}..."),
        (b'{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}', "standard input has no tasks: it has a, b, c, d, e, and 1 more"),
        (b'{"tasks": [3, "../x", "ok"]}', "not a task ID: 3; not a task ID: '../x'"),
        (b"[" * 100_000, "standard input is not JSON: " + TOO_DEEP),
    ],
)  # fmt: skip
def test_what_is_no_task(data: bytes, said: str) -> None:
    """Everything that cannot be waited for is named, in harmless characters."""
    with pytest.raises(ConfigurationError) as caught:
        read_ids(["-"], io.BytesIO(data))
    assert str(caught.value) == said


def test_no_standard_input_at_all() -> None:
    """A process without standard input has nothing to read."""
    with pytest.raises(ConfigurationError, match="standard input is empty"):
        read_ids(["-"], None)


def test_the_answer_of_the_api_through_a_pipe(run: Run) -> None:
    """``curl ... | waiter wait -`` works."""
    ran = run("wait", "-", "-o", "ids", "-q", stdin=json.dumps({"tasks": [GOOD]}).encode())
    assert ran == (0, "vm-1\ndisk-1\ndisk-2\n", "")


def test_nothing_to_wait_for_is_success_at_once(run: Run) -> None:
    """An empty list of tasks needs no key and no look."""
    ran = run("wait", "-", stdin=b'{"tasks": []}', env={"GCORE_API_KEY": ""})
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"tasks": [], "created_resources": {}}, "")
    assert run("status", "-", "-o", "text", stdin=b'{"tasks": []}') == (0, "", "")


def test_all_mistakes_at_once(run: Run) -> None:
    """Bad IDs, a bad query, a missing command and a missing key are all named in one go."""
    env = {"GCORE_API_KEY": " ", "GCORE_BASE_URL": "ftp://x"}
    ran = run("wait", BROKEN, "/x", "y z", "--query", "[", "--", "no-such-command", env=env)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "waiter: not a task ID: '/x'; not a task ID: 'y z'; --query: Invalid jmespath expression: Incomplete expression:; "
        "the command after -- is not found: no-such-command; the API key is empty; "
        "the base URL 'ftp://x' must look like https://host\n"
    )
