"""Task IDs from arguments and standard input."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from command_parts import GOOD, Run

from waiter.cli.task_input import read_task_ids
from waiter.errors import ConfigurationError

WEB_PAGE = "standard input is a web page, not a response of the API: did the request before the pipe fail?"


NOTHING = "null: the query that should give the ID found nothing"


LINE_3 = "line 3 of standard input is not a task ID: '/'"
TOO_DEEP = "maximum recursion depth exceeded while decoding a JSON array from a unicode string"


@pytest.mark.parametrize(
    "text",
    [
        "a\nb\n",
        "  a b  ",
        "# of today\na  # the first\n\n\tb#\n".replace("b#", "b #"),
        '{"tasks": ["a", "b"]}',
        '[{"tasks": ["a"]}, {"tasks": ["b"]}]',
        '["a", "b"]',
        '"a" "b"',
        '{"tasks": ["a"]}{"tasks": ["b", "a"]}',
        '{"tasks": ["a"]}\n{"tasks": ["b"]}\n',
        '\ufeff{"tasks": ["a", "b"]}',
        '{"tasks": [{"id": "a", "state": null}, {"id": "b", "state": "FINISHED"}], "created_resources": {}}',
        '{"id": "v-1", "task_id": "a", "creator_task_id": "z"} {"id": "v-2", "task_id": null} {"id": "v-3", "task_id": "b"}',
        '{"count": 3, "results": [{"id": "v-1", "task_id": "a"}, {"task_id": null}, {"task_id": "b"}]}',
        '{"count": 2, "results": [{"id": "a", "state": "NEW"}, {"id": "b", "state": "RUNNING"}]}',
        '[{"id": "a", "state": "NEW"}, {"id": "b", "state": "NEW"}]',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_accepted_forms_of_standard_input(text: str, encoding: str) -> None:
    """IDs one a line, a response of the API, lists of responses, several JSON values; each ID once."""
    assert read_task_ids(["-"], io.BytesIO(text.encode(encoding))) == ["a", "b"]


VOLUME = '{"id": "v-1", "task_id": "holder", "creator_task_id": "creator"}'


def test_resource_names_the_task_that_holds_it_or_created_it() -> None:
    """``creator_task_id`` counts only when it is asked for, and then alone."""
    assert read_task_ids([VOLUME], None) == ["holder"]
    assert read_task_ids([VOLUME, "t-1"], None, creators=True) == ["creator", "t-1"]
    assert read_task_ids(['{"task_id": null, "creator_task_id": "c"}'], None) == []
    results = f'{{"count": 1, "results": [{VOLUME}, {{"id": "t-2", "state": "NEW"}}]}}'
    assert read_task_ids(["-"], io.BytesIO(results.encode()), creators=True) == ["creator", "t-2"]
    with pytest.raises(ConfigurationError, match=r"^the argument has no tasks: a resource without creator_task_id$"):
        read_task_ids(['{"id": "v-1", "task_id": null}'], None, creators=True)
    with pytest.raises(ConfigurationError, match=f"^not a task ID: {NOTHING}$"):
        read_task_ids(['{"id": "v-1", "creator_task_id": null}'], None, creators=True)


def test_file_has_every_form_of_standard_input(tmp_path: Path) -> None:
    """Its text is in no message, because it may be the wrong file."""
    file = tmp_path / "tasks"
    for text in ("a\n# b\nc", '{"tasks": ["a", "c"]}', '["a", {"id": "v-1", "task_id": "c"}]'):
        file.write_text(text)
        assert read_task_ids([f"@{file}", "a"], None) == ["a", "c"]
    for text, message in (
        ("a\n1234$secret", f"line 2 of {file} is not a task ID"),
        ('["1234$secret"]', f"{file} has a value that is not a task ID"),
        ('"1234$secret', f"{file} is not JSON: Unterminated string starting at: line 1 column 1 (char 0)"),
        ("", f"{file} is empty"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            read_task_ids([f"@{file}"], None)
        assert str(caught.value) == message
    with pytest.raises(ConfigurationError, match=f"^cannot read {tmp_path}: Is a directory$"):
        read_task_ids([f"@{tmp_path}"], None)
    with pytest.raises(ConfigurationError, match=r"^cannot read .*: embedded null byte$"):
        read_task_ids(["@a\0"], None)


@pytest.mark.parametrize("word", ["./volume.json", "a/b", "C:\\x.json"])
def test_path_without_an_at_sign_is_no_file(word: str) -> None:
    """A word that a program passes on must not make waiter read a file; the message says how to."""
    with pytest.raises(ConfigurationError, match=r"^not a task ID: .* \(@FILE reads a file\)$"):
        read_task_ids([word], None)


def test_dash_stands_for_the_ids_on_standard_input() -> None:
    """The order of the arguments is kept."""
    assert read_task_ids(["x", "-", "y"], io.BytesIO(b"a")) == ["x", "a", "y"]
    assert read_task_ids(["x"], None) == ["x"]


@pytest.mark.parametrize(
    ("data", "message"),
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
        (b"null\n", f"line 1 of standard input is not a task ID: {NOTHING}"),
        (b'{"tasks": [null]}', f"not a task ID: {NOTHING}"),
        (b"! " * 7, "; ".join(["line 1 of standard input is not a task ID: '!'"] * 5) + "; and 2 more"),
        (b"a # x\n\n/\n" + b"!" * 100, f"{LINE_3}; line 4 of standard input is not a task ID: '{'!' * 56}..."),
        (json.dumps({"k" * 99: 1}).encode(), f"standard input has no tasks: it has {'k' * 57}..."),
        (b'{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}', "standard input has no tasks: it has a, b, c, d, e, and 1 more"),
        (b'{"tasks": [3, "../x", "ok"]}', "not a task ID: 3; not a task ID: '../x'"),
        (b"[" * 100_000, "standard input is not JSON: " + TOO_DEEP),
        (b"[[[]]]", "not a task ID: [[]]"),
        (b"[" * 900 + b"]" * 900, "not a task ID: " + "[" * 57 + "..."),
        (b'{"tasks": [' + b"1" * 5000 + b"]}", "standard input is not JSON: a number has too many digits"),
        (b'{"tasks": [{"name": "x"}]}', "not a task ID: {'name': 'x'}"),
        (b'"a" 7 null', f"not a task ID: 7; not a task ID: {NOTHING}"),
        (b'[{"id": "v-1"}]', "not a task ID: {'id': 'v-1'}"),
        (
            b'{"id": "v-1", "creator_task_id": "t"}',
            "standard input has no tasks: a resource without task_id; --creator selects the task that created it",
        ),
    ],
)  # fmt: skip
def test_unusable_standard_input_is_named(data: bytes, message: str) -> None:
    """The message names everything that is no task ID, escaped."""
    with pytest.raises(ConfigurationError) as caught:
        read_task_ids(["-"], io.BytesIO(data))
    assert str(caught.value) == message


@pytest.mark.parametrize("data", [b"[9" + b"9" * 5000 + b"]", b"[" * 900 + b"]" * 900 + b"x", b"[" * 9000 + b"1" + b"]" * 9000])
def test_numbers_and_lists_beyond_all_bounds_are_refused(data: bytes) -> None:
    """Python reads no integer of over 4,300 digits; how deep a list may be depends on its version, but no list is an ID."""
    with pytest.raises(ConfigurationError, match=r"standard input is not JSON|not a task ID"):
        read_task_ids(["-"], io.BytesIO(data))


def test_missing_standard_input_counts_as_empty() -> None:
    """A process may have no standard input."""
    with pytest.raises(ConfigurationError, match="standard input is empty"):
        read_task_ids(["-"], None)


def test_response_of_the_api_through_a_pipe(run: Run) -> None:
    """``curl ... | waiter wait -`` works."""
    ran = run("wait", "-", "-o", "ids", "-q", stdin=json.dumps({"tasks": [GOOD]}).encode())
    assert ran == (0, "vm-1\ndisk-1\ndisk-2\n", "")


def test_empty_list_of_tasks_succeeds_without_a_poll(run: Run) -> None:
    """An empty list needs no key."""
    ran = run("wait", "-", stdin=b'{"tasks": []}', env={"GCORE_API_KEY": ""})
    assert (ran.code, json.loads(ran.out), ran.err) == (0, {"tasks": [], "created_resources": {}}, "")
    assert run("status", "-", "-o", "text", stdin=b'{"tasks": []}') == (0, "", "")
