"""The result, in every form that it can have on standard output.

JSON and text tell all, on failure too. The forms that programs swallow whole (``ids``, ``env``, ``github``) are given on
success only, so that nothing takes the remains of a failure for a result.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from waiter.console import stderr
from waiter.console.formatting import format_duration, printable
from waiter.errors import ConfigurationError, TaskError, WaiterError
from waiter.task import CreatedResources

if TYPE_CHECKING:
    from waiter.task import Task

_KINDS = frozenset(CreatedResources.__struct_fields__) - {"unknown_kinds"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ODD = re.compile(r"[^A-Za-z0-9_]")


class Ending(NamedTuple):
    """How a task was left: as last seen, and the error that its wait ended with; with neither, it was not seen."""

    task_id: str
    task: Task | None = None
    error: WaiterError | None = None

    @property
    def why(self) -> str | None:
        """The error's text: the API's own when the task failed, otherwise why the wait for it ended."""
        if self.task is not None and self.task.error:
            return self.task.error
        return stderr.describe(self.error) if self.error and not isinstance(self.error, TaskError) else None


def created(endings: Iterable[Ending]) -> CreatedResources:
    """Give what all of the tasks created."""
    return CreatedResources.merge(ending.task.created_resources for ending in endings if ending.task)


def as_data(endings: Iterable[Ending]) -> dict[str, Any]:
    """Give the object that ``--output json`` prints, of one shape for one task and for many."""
    endings = list(endings)
    return {"tasks": [_task_as_data(ending) for ending in endings], "created_resources": created(endings).as_dict()}


def _task_as_data(ending: Ending) -> dict[str, Any]:
    task = ending.task
    return {
        "id": ending.task_id,
        "task_type": task and task.task_type,
        "state": task and str(task.state),
        "error": ending.why,
        "created_on": task and task.created_on and task.created_on.isoformat(),
        "finished_on": task and task.finished_on and task.finished_on.isoformat(),
        "created_resources": task.created_resources.as_dict() if task else {},
    }


def as_json(data: object) -> str:
    """Write JSON in ASCII, which passes every terminal, pipe and console unharmed."""
    import json  # noqa: PLC0415 - the other forms do without

    return json.dumps(data, indent=2) + "\n"


def as_text(endings: Iterable[Ending]) -> str:
    """Write a block for each task: its state, type, ID and duration, then what went wrong and what it created."""
    return "".join(_block(ending) for ending in endings)


def _block(ending: Ending) -> str:
    task = ending.task
    took = _took(task) if task else None
    head = [f"{printable(task.state):<8}" if task else "UNKNOWN ", printable(task.task_type) if task and task.task_type else ""]
    lines = ["  ".join(filter(None, [*head, ending.task_id, took]))]
    if ending.why:
        lines.append(f"  error: {printable(ending.why)}")
    made = task.created_resources.as_dict() if task else {}
    lines += [f"  {printable(kind)}: {', '.join(map(printable, ids))}" for kind, ids in made.items()]
    return "\n".join(lines) + "\n"


def _took(task: Task) -> str | None:
    if task.created_on is None or task.finished_on is None:
        return None
    return format_duration((task.finished_on - task.created_on).total_seconds())


def as_ids(resources: CreatedResources) -> str:
    """Write one ID a line."""
    return "".join(f"{printable(one)}\n" for ids in resources.as_dict().values() for one in ids)


def variables(resources: CreatedResources) -> dict[str, str]:
    """Give the IDs of each kind, joined by commas, under the kind's name in capitals.

    A kind that the description does not know yet stands under ``CREATED_<KIND>``, so that no answer can set ``PATH``. What no
    variable can be named with becomes ``_``, and kinds that so get one name share it: ``a-b`` and ``a.b`` are ``CREATED_A_B``.
    """
    return _named(resources, _variable)


def environment(inherited: Mapping[str, str], resources: CreatedResources) -> dict[str, str]:
    """Give the environment of the command that follows: what was inherited, and of known kinds only what was created now."""
    ours = {_variable(kind) for kind in _KINDS}
    return {name: value for name, value in inherited.items() if name not in ours} | variables(resources)


def _variable(kind: str) -> str:
    return kind.upper() if kind in _KINDS else f"CREATED_{_ODD.sub('_', kind.upper())}"


def _output(kind: str) -> str:
    return kind if _NAME.fullmatch(kind) else f"created_{_ODD.sub('_', kind.lower())}"


def _named(resources: CreatedResources, name: Callable[[str], str]) -> dict[str, str]:
    named: dict[str, list[str]] = {}
    for kind, ids in resources.as_dict().items():
        named.setdefault(name(kind), []).extend(map(printable, ids))
    return {name: ",".join(ids) for name, ids in named.items()}


def as_env(resources: CreatedResources) -> str:
    """Write ``INSTANCES=...`` lines for ``eval`` and for dotenv files, quoted where a shell wants it."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables(resources).items())


def as_github(resources: CreatedResources) -> str:
    """Write the lines of a ``$GITHUB_OUTPUT`` file, each value between delimiters that nobody can guess.

    A kind whose name no output can have stands under ``created_<kind>``, with ``_`` for what is odd in it.
    """
    # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings
    mark = f"waiter_{os.urandom(16).hex()}"
    return "".join(f"{kind}<<{mark}\n{value}\n{mark}\n" for kind, value in _named(resources, _output).items())


def github_file(environ: Mapping[str, str]) -> Path:
    """Give the file that a step's outputs go to; raises ConfigurationError when it cannot be written."""
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
