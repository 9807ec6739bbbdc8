"""The tasks to wait for: arguments, or what somebody pipes in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

from waiter.api.responses import is_task_id
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError

MOST_PROBLEMS = 5
LONGEST_WORD = 60


def read_ids(words: Sequence[str], stdin: BinaryIO | None) -> list[str]:
    """Give the IDs in order, each once; ``-`` stands for those on standard input.

    Raises ConfigurationError that names what is no ID: the first few, in case it is no list of IDs at all.
    """
    piped = _read_piped(stdin.read() if stdin else b"") if "-" in words else []
    found = [one for word in words for one in (piped if word == "-" else [word])]
    bad = [one for one in found if one == "null" or not is_task_id(one)]
    if bad:
        more = [f"and {len(bad) - MOST_PROBLEMS} more"] if len(bad) > MOST_PROBLEMS else []
        raise ConfigurationError(*map(_problem, bad[:MOST_PROBLEMS]), *more)
    return list(dict.fromkeys(found))


def _problem(one: object) -> str:
    # What jq and the like print for something that is not there.
    if one is None or one == "null":
        return "not a task ID: null: the query that should give the ID found nothing"
    return f"not a task ID: {_cut(repr(one))}"


def _cut(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 3]}..."


def _read_piped(data: bytes) -> list[Any]:
    try:
        # PowerShell pipes UTF-16, and others a byte order mark.
        text = data.decode(json.detect_encoding(data)).strip().removeprefix("\ufeff")
    except UnicodeDecodeError:
        message = "standard input is not text"
        raise ConfigurationError(message) from None
    if not text:
        message = "standard input is empty: did the request before the pipe fail?"
        raise ConfigurationError(message)
    if text[0] == "<":
        message = "standard input is a web page and no answer of the API: did the request before the pipe fail?"
        raise ConfigurationError(message)
    return _read_answers(text) if text[0] in '{["' else text.split()


def _read_answers(text: str) -> list[Any]:
    """Read the API's answers, as many as there are, one after the other."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    while text:
        try:
            answer, end = decoder.raw_decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            message = f"standard input is not JSON: {error}"
            raise ConfigurationError(message) from None
        found += _ids_of(answer)
        text = text[end:].lstrip(", \t\r\n")
    return found


def _ids_of(answer: Any) -> list[Any]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(answer, list):
        return [one for part in answer for one in _ids_of(part)]
    if not isinstance(answer, dict):
        return [answer]
    tasks = answer.get("tasks")
    if isinstance(tasks, list):
        return tasks
    why = "tasks is no list" if "tasks" in answer else _said(answer)
    message = f"standard input has no tasks: {why}"
    raise ConfigurationError(message)


def _said(answer: dict[str, Any]) -> str:
    # What the API answers to a request that it refuses; curl without --fail-with-body hands it on as if all were well.
    said = [str(answer[name]) for name in ("exception_class", "message") if answer.get(name)]
    if said:
        return f"the API answered {printable(' '.join(said))}"
    names = [*map(_cut, list(answer)[:MOST_PROBLEMS])] or ["nothing"]
    more = f", and {len(answer) - MOST_PROBLEMS} more" if len(answer) > MOST_PROBLEMS else ""
    return f"it has {printable(', '.join(names))}{more}"
