"""Read the IDs of the tasks from the arguments, from files and from standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from waiter.config.task_ids import referenced_ids
from waiter.console.formatting import printable
from waiter.errors import ConfigurationError
from waiter.task import is_task_id

MAX_PROBLEMS = 5
MAX_LENGTH = 60
STDIN, ARGUMENT = "standard input", "the argument"
_HINT = ": did the request before the pipe fail?"
_COMMENT = re.compile(r"(?:^|\s)#.*")


class _Word(NamedTuple):
    """What may be a task ID, where it is from, and its line there, 0 in JSON."""

    value: Any
    source: str = ""
    line: int = 0


def read_task_ids(words: Sequence[str], stdin: BinaryIO | None, *, creators: bool = False) -> list[str]:
    """Return the IDs in order, each once, among them the paths and URLs of resources as they were given.

    A word is an ID, the path or the URL of a resource, JSON, ``@FILE``, or ``-`` for standard input. JSON and files have any
    form of reference; of a resource, ``creators`` selects the task that created it. Raises ConfigurationError that names the
    first few words that are none of these.
    """
    piped = _read_text(stdin.read() if stdin else b"", STDIN, creators) if "-" in words else []
    found = [one for word in words for one in (piped if word == "-" else _read_word(word, creators))]
    return _checked(found)


def is_resource_ref(word: str) -> bool:
    """Return whether a word is the path or the URL of a resource of the API; no ID of a task looks like one."""
    return word.startswith("/cloud/") or word.lower().startswith(("https://", "http://"))


def task_ids_of(resource: Mapping[str, Any] | None, ref: str, *, creators: bool) -> list[str]:
    """Return the IDs of the tasks that a response names; ``ref`` is its path. Raises ConfigurationError."""
    source = printable(ref)
    return _checked([_Word(one, source) for one in _ids_in(resource, source, creators)])


def _checked(found: list[_Word]) -> list[str]:
    bad = [one for one in found if one.value == "null" or not (is_task_id(one.value) or _is_resource_ref(one))]
    if bad:
        more = [f"and {len(bad) - MAX_PROBLEMS} more"] if len(bad) > MAX_PROBLEMS else []
        raise ConfigurationError(*map(_problem, bad[:MAX_PROBLEMS]), *more)
    return list(dict.fromkeys(one.value for one in found))


def _is_resource_ref(word: _Word) -> bool:
    # A path in JSON was written by the API, which does not choose what is requested.
    return (not word.source or word.line > 0) and is_resource_ref(word.value)


def _read_word(word: str, creators: bool) -> list[_Word]:
    if word.startswith("@"):
        return _read_text(_read_file(Path(word[1:])), printable(word[1:]), creators)
    if word.startswith(("{", "[")):
        return _read_text(word.encode(errors="surrogateescape"), ARGUMENT, creators)
    return [_Word(word)]


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        message = f"cannot read {printable(file)}: {getattr(error, 'strerror', None) or error}"
        raise ConfigurationError(message) from None


def _problem(word: _Word) -> str:
    where = f"line {word.line} of {word.source} is " if word.line else ""
    # jq prints null for a value that does not exist.
    if word.value is None or word.value == "null":
        return f"{where}not a task ID: null: the query that should give the ID found nothing"
    if word.source not in {"", STDIN, ARGUMENT}:
        # A file may be the wrong one, and its text a secret.
        return f"{where}not a task ID" if where else f"{word.source} has a value that is not a task ID"
    hint = " (@FILE reads a file)" if not word.source and _is_like_a_path(word.value) else ""
    return f"{where}not a task ID: {_cut(repr(word.value))}{hint}"


def _is_like_a_path(word: str) -> bool:
    return "/" in word or "\\" in word


def _cut(word: str) -> str:
    return word if len(word) <= MAX_LENGTH else f"{word[: MAX_LENGTH - 3]}..."


def _read_text(data: bytes, source: str, creators: bool) -> list[_Word]:
    try:
        # PowerShell pipes UTF-16, and others a byte order mark.
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        message = f"{source} is not text"
        raise ConfigurationError(message) from None
    start = text.lstrip()[:1]
    if not start:
        message = f"{source} is empty{_HINT if source == STDIN else ''}"
        raise ConfigurationError(message)
    if start == "<":
        message = f"{source} is a web page, not a response of the API{_HINT if source == STDIN else ''}"
        raise ConfigurationError(message)
    if start not in '{["':
        return _read_lines(text, source)
    return [_Word(one, source) for value in _read_json_values(text.strip(), source) for one in _ids_in(value, source, creators)]


def _read_lines(text: str, source: str) -> list[_Word]:
    """Return the words of a list of IDs, in which ``#`` starts a comment."""
    lines = enumerate(text.splitlines(), 1)
    return [_Word(word, source, number) for number, line in lines for word in _COMMENT.sub("", line).split()]


def _read_json_values(text: str, source: str) -> list[Any]:
    """Return any number of JSON values, one after another."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            message = f"{source} is not JSON: {error}"
            raise ConfigurationError(message) from None
        except ValueError:
            # Python refuses to convert more than 4,300 digits.
            message = f"{source} is not JSON: a number has too many digits"
            raise ConfigurationError(message) from None
        found.append(value)
        text = text[end:].lstrip(", \t\r\n")
    return found


def _ids_in(value: Any, source: str, creators: bool) -> list[object]:  # noqa: ANN401 - any JSON value
    try:
        return referenced_ids(value, creators=creators)
    except ConfigurationError:
        if not isinstance(value, dict):
            return [value]
        if creators and "task_id" in value:
            why = "a resource without creator_task_id"
        elif "creator_task_id" in value:
            why = "a resource without task_id; --creator selects the task that created it"
        else:
            why = "tasks is no list" if "tasks" in value else _contents(value)
        message = f"{source} has no tasks: {why}"
        raise ConfigurationError(message) from None


def _contents(value: dict[str, Any]) -> str:
    # The API's response to a refused request, which curl passes on as a success without --fail-with-body.
    parts = [str(value[name]) for name in ("exception_class", "message") if value.get(name)]
    if parts:
        return f"the API answered {printable(' '.join(parts))}"
    names = [*map(_cut, list(value)[:MAX_PROBLEMS])] or ["nothing"]
    more = f", and {len(value) - MAX_PROBLEMS} more" if len(value) > MAX_PROBLEMS else ""
    return f"it has {printable(', '.join(names))}{more}"
