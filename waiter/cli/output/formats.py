"""The output formats: to add one, write a function and add it to ``FORMATS``.

``text`` and ``json`` contain everything. The other formats are read by programs: they contain what FINISHED tasks created, and
nothing that a failed task left behind, so that no program takes that for a result.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from waiter.cli.output.result import TaskResult, as_json_object, finished_resources, task_duration
from waiter.console.formatting import display_width, format_duration, printable, with_short_ids
from waiter.console.result_json import utc_text
from waiter.console.streams import is_terminal
from waiter.errors import ConfigurationError
from waiter.events import Event
from waiter.task import CreatedResources

_KINDS = frozenset(CreatedResources.__struct_fields__) - {"unknown_kinds"}
_OUTPUT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")


class OutputFormat(NamedTuple):
    """How to write results.

    A format of named values has ``render_variables``. ``file`` returns the file that is written instead of standard output.
    With ``render_event`` every event is written as it happens, before the result.
    """

    render: Callable[[Sequence[TaskResult]], str]
    render_variables: Callable[[Mapping[str, str]], str] | None = None
    file: Callable[[Mapping[str, str]], Path | None] = lambda _: None
    render_event: Callable[[Event], str] | None = None


def json_text(data: object) -> str:
    """Return JSON in ASCII, which every terminal, pipe and console passes on unchanged."""
    import json  # noqa: PLC0415 - the other formats do not need it

    return json.dumps(data, indent=2) + "\n"


def json_line(event: str, data: Mapping[str, object]) -> str:
    """Return an event as one line of JSON."""
    import json  # noqa: PLC0415 - the other formats do not need it

    return json.dumps({"event": event, "timestamp": utc_text(datetime.now(UTC)), **data}) + "\n"


def _event(event: Event) -> str:
    return json_line(event.name, event.fields)


def _result_event(results: Sequence[TaskResult]) -> str:
    return json_line("result", as_json_object(results))


def _json(results: Sequence[TaskResult]) -> str:
    return json_text(as_json_object(results))


def _text(results: Sequence[TaskResult]) -> str:
    if not is_terminal(sys.stdout):
        return text_blocks(results)
    import shutil  # noqa: PLC0415 - slow to load, and only needed on a terminal

    return text_blocks(results, shutil.get_terminal_size().columns)


def text_blocks(results: Sequence[TaskResult], columns: int | None = None) -> str:
    """Return a block for each task: its state, type, ID and duration, then the error and what it created.

    What is wider than the columns has one ID a line, so that no ID is broken in two on a terminal of 40 columns or more.
    """
    return "".join(_text_block(result, sys.maxsize if columns is None else columns) for result in results)


def _text_block(result: TaskResult, columns: int) -> str:
    task = result.task
    seconds = task_duration(task) if task else None
    took = None if seconds is None else format_duration(seconds)
    if took is None and result.age is not None:
        took = f"{format_duration(result.age)} old"
    head = [f"{printable(task.state):<8}" if task else "UNKNOWN "]
    head += [printable(text) for text in (task.task_type, with_short_ids(task.target or "")) if text] if task else []
    lines = ["  ".join(filter(None, [*head, result.task_id, took]))]
    if display_width(lines[0]) > columns:
        lines = ["  ".join(filter(None, [*head, took])).rstrip(), f"  {result.task_id}"]
    if result.reason:
        lines.append(f"  error: {printable(result.reason)}")
    for kind, ids in (task.created_resources.as_dict() if task else {}).items():
        lines += _resource_lines(printable(kind), [printable(one) for one in ids], columns)
    return "\n".join(lines) + "\n"


def _resource_lines(kind: str, ids: Sequence[str], columns: int) -> list[str]:
    line = f"  {kind}: {', '.join(ids)}"
    return [line] if display_width(line) <= columns else [f"  {kind}:", *(f"    {one}" for one in ids)]


def _ids(results: Sequence[TaskResult]) -> str:
    """Return one ID a line."""
    return "".join(f"{printable(one)}\n" for ids in finished_resources(results).as_dict().values() for one in ids)


def _env(results: Sequence[TaskResult]) -> str:
    """Return ``INSTANCES=...`` lines for ``eval`` and for dotenv files, quoted for a shell where necessary."""
    return _env_lines(env_variables(finished_resources(results)))


def _env_lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def env_variables(resources: CreatedResources) -> dict[str, str]:
    """Return the IDs of each kind, joined by commas, under the kind's name in capitals.

    A kind that waiter does not know is named ``CREATED_<KIND>``, so that no response can set ``PATH``. Characters that a
    variable's name cannot have become ``_``, and kinds that so get the same name share it: ``a-b`` and ``a.b`` are
    ``CREATED_A_B``.
    """
    return _ids_by_name(resources, _variable)


def command_environment(inherited: Mapping[str, str], results: Sequence[TaskResult]) -> dict[str, str]:
    """Return the environment of the command after ``--``: the IDs of the resources and, in WAITER_TASK_IDS, of the tasks.

    Inherited variables of known kinds are removed, because they are of an earlier wait.
    """
    own = {_variable(kind) for kind in _KINDS}
    kept = {name: value for name, value in inherited.items() if name not in own}
    task_ids = ",".join(result.task_id for result in results)
    return kept | env_variables(finished_resources(results)) | {"WAITER_TASK_IDS": task_ids}


def _variable(kind: str) -> str:
    return kind.upper() if kind in _KINDS else f"CREATED_{_NOT_IN_NAMES.sub('_', kind.upper())}"


def _github(results: Sequence[TaskResult]) -> str:
    """Return the outputs of a workflow step.

    A kind whose name no output can have is named ``created_<kind>``, with ``_`` for the characters that are not allowed.
    """
    return _github_lines(_ids_by_name(finished_resources(results), _github_name))


def _github_lines(values: Mapping[str, str]) -> str:
    """Return the lines of a ``$GITHUB_OUTPUT`` file, each value between random delimiters that no value can contain."""
    # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings
    mark = f"waiter_{os.urandom(16).hex()}"
    return "".join(f"{name}<<{mark}\n{value}\n{mark}\n" for name, value in values.items())


def _github_name(kind: str) -> str:
    return kind if _OUTPUT_NAME.fullmatch(kind) else f"created_{_NOT_IN_NAMES.sub('_', kind.lower())}"


def _ids_by_name(resources: CreatedResources, name: Callable[[str], str]) -> dict[str, str]:
    named: dict[str, list[str]] = {}
    for kind, ids in resources.as_dict().items():
        named.setdefault(name(kind), []).extend(map(printable, ids))
    return {name: ",".join(ids) for name, ids in named.items()}


def _github_file(environ: Mapping[str, str]) -> Path:
    """Return the file for the outputs of a workflow step; raises ConfigurationError if it cannot be written."""
    if not environ.get("GITHUB_OUTPUT"):
        message = "--output github: GITHUB_OUTPUT is not set, so this is no step of a GitHub workflow"
        raise ConfigurationError(message)
    file = Path(environ["GITHUB_OUTPUT"])
    try:
        file.open("a").close()
    except OSError as error:
        message = f"--output github: cannot write {file}: {error.strerror}"
        raise ConfigurationError(message) from None
    return file


FORMATS: Final = {
    "text": OutputFormat(_text),
    "json": OutputFormat(_json),
    "ids": OutputFormat(_ids),
    "env": OutputFormat(_env, _env_lines),
    "github": OutputFormat(_github, _github_lines, _github_file),
    "events": OutputFormat(_result_event, render_event=_event),
}
