"""The tasks to wait for: arguments, or what somebody pipes in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

from waiter.cli.text import safe
from waiter.errors import ConfigurationError
from waiter.settings import task_ids


def read_ids(words: Sequence[str], stdin: BinaryIO | None) -> list[str]:
    """Give the IDs in order, each once; ``-`` stands for those on standard input.

    Raises ConfigurationError that names everything that is no ID.
    """
    piped = _read_piped(stdin.read() if stdin else b"") if "-" in words else []
    found = [one for word in words for one in (piped if word == "-" else [word])]
    return task_ids({"tasks": found})


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
    message = f"standard input has no tasks: {_said(answer)}"
    raise ConfigurationError(message)


def _said(answer: dict[str, Any]) -> str:
    # What the API answers to a request that it refuses; curl without --fail-with-body hands it on as if all were well.
    said = [str(answer[name]) for name in ("exception_class", "message") if answer.get(name)]
    if said:
        return f"the API answered {safe(' '.join(said))}"
    return f"it has {safe(', '.join(answer) or 'nothing')}"
