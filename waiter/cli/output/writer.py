"""Write the result, in a format that is chosen and checked before the wait begins."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from waiter.cli.options import first_given
from waiter.cli.output.formats import FORMATS, OutputFormat, json_text
from waiter.cli.output.result import as_json_object
from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.streams import OutputError, write_result
from waiter.errors import ConfigurationError
from waiter.events import Event

if TYPE_CHECKING:
    from waiter.cli.output.query import Query


class ResultWriter:
    """Writes results in one of the ``formats``, as the arguments say; raises ConfigurationError if that is impossible.

    ``as_data`` returns the JSON to which a query is applied.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        *,
        to_terminal: bool,
        formats: Mapping[str, OutputFormat] = FORMATS,
        as_data: Callable[[Sequence[Any]], object] = as_json_object,
    ) -> None:
        self._as_data = as_data
        self._format_name: str = args.output or default_format(to_terminal=to_terminal)
        self._format = formats[self._format_name]
        # Standard output belongs to the command after --, unless a format was asked for.
        self._is_silent = args.output is None and args.command is not None
        is_query_given = args.query and first_given(args.argv, ["--query"])
        has_query = args.query and (is_query_given or not (self._is_silent or self._format.render_event))
        self._query = _compile(args.query, self._format_name) if has_query else None
        self._is_strict: bool = args.strict
        if is_query_given and self._format.render_event:
            message = f"--query does not go with --output {self._format_name}, which has everything"
            raise ConfigurationError(message)
        if is_query_given and self._is_silent:
            message = "--query beside a COMMAND needs --output, because standard output belongs to the command"
            raise ConfigurationError(message)
        if first_given(args.argv, ["--strict"]) and not args.query:
            message = "--strict goes with --query"
            raise ConfigurationError(message)
        self._file = self._format.file(args.environ)
        # Of the first event that could not be written: what follows would be incomplete.
        self._failure: OutputError | None = None
        # When each wait began that has not ended, in monotonic seconds, and the last event of it.
        self._waits: dict[str, tuple[float, Event]] = {}

    def write_event(self, event: Event) -> None:
        """Write an event, if the format has events; one that cannot be written is told at the end of the wait."""
        if self._format.render_event is None or self._is_silent:
            return
        if event.name == "wait.ended":
            self._waits.pop(event.task_id, None)
        elif event.name == "wait.started":
            self._waits[event.task_id] = time.monotonic(), event
        elif event.task_id in self._waits:
            self._waits[event.task_id] = self._waits[event.task_id][0], event
        self._write_events([event])

    def write_interrupted_waits(self) -> None:
        """Write the end of each wait that has begun and not ended, if the format has events: a signal has ended them all."""
        now = time.monotonic()
        self._write_events(
            [
                Event(
                    "wait.ended",
                    {name: last.fields[name] for name in ("task_id", "path", "task_type") if name in last.fields}
                    | {"outcome": "cancelled", "waited": round(now - began_at, 3)},
                )
                for began_at, last in self._waits.values()
            ]
        )

    def write_end_of_events(self) -> None:
        """Write a result without tasks, if the format has events: it is their last line, also before a task is known."""
        if self._format.render_event is not None:
            self.write([], code=ExitCode.FAULT)

    def _write_events(self, events: Sequence[Event]) -> None:
        if self._format.render_event is None or self._failure is not None or not events:
            return
        try:
            self._write_text("".join(map(self._format.render_event, events)))
        except OutputError as error:
            self._failure = error

    def write(self, results: Sequence[Any], *, code: int) -> int:
        """Write the results and return the exit code: ``code``, or that of a failure to write when ``code`` is 0."""
        try:
            if self._failure is not None:
                raise self._failure
            return self._write_or_fall_back(results, code)
        except OutputError as error:
            stderr.error(str(error), "result.not_written")
            return code or ExitCode.FAULT

    def _write_or_fall_back(self, results: Sequence[Any], code: int) -> int:
        if self._is_silent:
            return code
        if self._query is not None:
            return self._write_query(self._query, results, code)
        self._write_text(self._format.render(results))
        return code

    def _write_query(self, query: Query, results: Sequence[Any], code: int) -> int:
        from waiter.cli.output.query import QueryError  # noqa: PLC0415 - only needed for queries

        data = self._as_data(results)
        try:
            text, has_null = query.run(data)
        except QueryError as error:
            stderr.error(f"--query: {error}; the whole result follows", "result.not_found", query_error=str(error))
            write_result(json_text(data))
            return code or ExitCode.USAGE
        self._write_text(text)
        # After a failure a missing resource is no surprise.
        if not has_null or code != ExitCode.FINISHED:
            return code
        level = "error" if self._is_strict else "warning"
        stderr.write_message("--query: the result is null", "result.null", level=level)
        return ExitCode.USAGE if self._is_strict else code

    def _write_text(self, text: str) -> None:
        if self._file is None:
            write_result(text)
            return
        try:
            with self._file.open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as error:
            message = f"cannot write to GITHUB_OUTPUT: {error.strerror}"
            raise OutputError(message) from error


def default_format(*, to_terminal: bool) -> str:
    """Return the name of the format that is used without ``--output``."""
    return "text" if to_terminal else "json"


def _compile(expression: str, format_name: str) -> Query:
    from waiter.cli.output.query import Query  # noqa: PLC0415 - only needed for queries

    return Query(expression, format_name)
