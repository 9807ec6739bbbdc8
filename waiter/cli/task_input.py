"""Read the IDs of the tasks from the arguments and from standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from waiter.config.task_ids import is_task_id
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError

MAX_PROBLEMS = 5
MAX_LENGTH = 60
_COMMENT = re.compile(r"(?:^|\s)#.*")


class _Word(NamedTuple):
    """What may be a task ID, and its line on standard input, 0 for an argument and in JSON."""

    value: Any
    line: int = 0


def read_task_ids(words: Sequence[str], stdin: BinaryIO | None) -> list[str]:
    """Return the IDs in order, each once; ``-`` stands for those on standard input.

    Raises ConfigurationError that names the first few words that are no IDs.
    """
    piped = _read_piped(stdin.read() if stdin else b"") if "-" in words else []
    found = [one for word in words for one in (piped if word == "-" else [_Word(word)])]
    bad = [one for one in found if one.value == "null" or not is_task_id(one.value)]
    if bad:
        more = [f"and {len(bad) - MAX_PROBLEMS} more"] if len(bad) > MAX_PROBLEMS else []
        raise ConfigurationError(*map(_problem, bad[:MAX_PROBLEMS]), *more)
    return list(dict.fromkeys(one.value for one in found))


def _problem(word: _Word) -> str:
    where = f"line {word.line} of standard input is " if word.line else ""
    # jq prints null for a value that does not exist.
    if word.value is None or word.value == "null":
        return f"{where}not a task ID: null: the query that should give the ID found nothing"
    return f"{where}not a task ID: {_cut(repr(word.value))}"


def _cut(word: str) -> str:
    return word if len(word) <= MAX_LENGTH else f"{word[: MAX_LENGTH - 3]}..."


def _read_piped(data: bytes) -> list[_Word]:
    try:
        # PowerShell pipes UTF-16, and others a byte order mark.
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        message = "standard input is not text"
        raise ConfigurationError(message) from None
    start = text.lstrip()[:1]
    if not start:
        message = "standard input is empty: did the request before the pipe fail?"
        raise ConfigurationError(message)
    if start == "<":
        message = "standard input is a web page, not a response of the API: did the request before the pipe fail?"
        raise ConfigurationError(message)
    return [_Word(one) for one in _read_json_values(text.strip())] if start in '{["' else _read_lines(text)


def _read_lines(text: str) -> list[_Word]:
    """Return the words of a list of IDs, in which ``#`` starts a comment."""
    lines = enumerate(text.splitlines(), 1)
    return [_Word(word, number) for number, line in lines for word in _COMMENT.sub("", line).split()]


def _read_json_values(text: str) -> list[Any]:
    """Return the IDs in any number of JSON values, one after another."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            message = f"standard input is not JSON: {error}"
            raise ConfigurationError(message) from None
        except ValueError:
            # Python refuses to convert more than 4,300 digits.
            message = "standard input is not JSON: a number has too many digits"
            raise ConfigurationError(message) from None
        found += _task_ids_in(value)
        text = text[end:].lstrip(", \t\r\n")
    return found


def _task_ids_in(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
    """Return the IDs in one JSON value: an ID, a response, a list of tasks, or a list of these."""
    values = value if isinstance(value, list) else [value]
    return [one for part in values for one in (_task_ids_of(part) if isinstance(part, dict) else [part])]


def _task_ids_of(response: dict[str, Any]) -> list[Any]:
    for name in ("tasks", "results"):
        if isinstance(response.get(name), list):
            return [one.get("id") if isinstance(one, dict) else one for one in response[name]]
    if "state" in response and "id" in response:
        return [response["id"]]
    why = "tasks is no list" if "tasks" in response else _contents(response)
    message = f"standard input has no tasks: {why}"
    raise ConfigurationError(message)


def _contents(value: dict[str, Any]) -> str:
    # The API's response to a refused request, which curl passes on as a success without --fail-with-body.
    parts = [str(value[name]) for name in ("exception_class", "message") if value.get(name)]
    if parts:
        return f"the API answered {printable(' '.join(parts))}"
    names = [*map(_cut, list(value)[:MAX_PROBLEMS])] or ["nothing"]
    more = f", and {len(value) - MAX_PROBLEMS} more" if len(value) > MAX_PROBLEMS else ""
    return f"it has {printable(', '.join(names))}{more}"
