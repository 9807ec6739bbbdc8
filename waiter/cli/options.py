"""The options, in groups that several commands share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from waiter.cli.parser import Several, typed, variable
from waiter.config.task_filter import STATES
from waiter.console.formatting import parse_duration, parse_id, parse_interval, parse_name, parse_number, parse_share
from waiter.console.log_format import FORMATS as LOG_FORMATS
from waiter.console.log_format import LEVELS

if TYPE_CHECKING:
    import argparse

    from waiter.cli.parser import Parser

RETURN_WHEN = ("all", "any", "first-error")
FILTERS = ("--project", "--region", "--type")
WATCHING = ("--interval", "--max-outage")
PROGRESS = ("auto", "live", "lines", "none")


def first_given(argv: Iterable[str], names: Collection[str]) -> str | None:
    """Return the first of these options on the command line. One in the environment may be meant for another command."""
    return next((name for name, _, _ in (word.partition("=") for word in argv) if name in names), None)


class OptionGroup:
    """A group of options; the help of each names its environment variables."""

    def __init__(self, group: argparse._ArgumentGroup) -> None:
        self._group = group

    def exclusive(self) -> OptionGroup:
        """Return a subgroup whose options exclude each other."""
        return OptionGroup(self._group.add_mutually_exclusive_group())

    def add(self, *flags: str, **how: Any) -> None:  # noqa: ANN401 - passed to add_argument()
        """Add an option; ``also`` names further environment variables for it."""
        also = how.pop("also", None)
        action = self._group.add_argument(*flags, **how)
        names = ", ".join(filter(None, [variable(action), also]))
        action.help = f"{action.help} [{names}]"


def add_tasks(parser: Parser, *, required: bool = True) -> None:
    """Add the IDs of the tasks."""
    parser.add_argument(
        "task_ids",
        nargs="+" if required else "*",
        metavar="TASK_ID",
        help="task IDs, paths or URLs of resources in the API, or JSON that names tasks: a response of the API, a resource; "
        "@FILE reads them from a file, - from standard input",
    )
    OptionGroup(parser.add_argument_group("of a resource")).add(
        "--creator",
        action="store_true",
        help="the task that created it (creator_task_id), to recover a lost ID, not the one that holds it (task_id)",
    )


def add_state(group: OptionGroup) -> None:
    """Add which states to list."""
    alternatives = group.exclusive()
    alternatives.add(
        "--state",
        action=Several,
        type=str.upper,
        choices=STATES,
        metavar="STATE",
        help=f"{', '.join(STATES)}; may be repeated (default: NEW and RUNNING)",
    )
    alternatives.add("--all", action="store_true", help="tasks in every state")


def add_active(parser: Parser) -> None:
    """Add the tasks of the account that have not ended, and which of them."""
    group = OptionGroup(parser.add_argument_group("all tasks that are active now"))
    group.add("--active", action="store_true", help="wait for the tasks of the account that are NEW or RUNNING now")
    add_filters(group)


def add_filters(group: OptionGroup) -> None:
    """Add the filters of the listing of tasks."""
    for name in ("project", "region"):
        group.add(
            f"--{name}",
            action=Several,
            type=typed(parse_id),
            metavar="ID",
            also=f"GCORE_CLOUD_{name.upper()}_ID",
            help=f"only tasks of this {name}; may be repeated",
        )
    group.add(
        "--type", dest="task_type", type=typed(parse_name), metavar="TYPE", help="only tasks of this type, such as create_vm"
    )


def add_condition(parser: Parser) -> None:
    """Add what a resource has to show."""
    group = OptionGroup(parser.add_argument_group("what to wait for"))
    group.add("--field", metavar="JMESPATH", help="the value in the resource, such as status (with --gone, it may be left out)")
    alternatives = group.exclusive()
    several: dict[str, Any] = {"action": Several, "nargs": "+", "metavar": "VALUE"}
    alternatives.add("--is", dest="values", **several, help="wait for one of these values; * matches any text")
    alternatives.add("--gone", action="store_true", help="wait until the resource answers 404, or its value is DELETED")
    group.add("--fails", **several, help="exit with 1 for one of these values")


def add_limits(parser: Parser, *, stall: bool = True) -> OptionGroup:
    """Add the limits of a wait, and return the group."""
    group = OptionGroup(parser.add_argument_group("how long to wait"))
    time: dict[str, Any] = {"type": typed(parse_duration), "metavar": "TIME"}
    group.add(
        "--timeout",
        **time,
        also="GCORE_POLLING_TIMEOUT_SECONDS",
        help="give up after this long (90, 90s, 30m, 1h30m, none; default: 2h)",
    )
    group.add("--max-outage", **time, help="how long the API may give no usable answer (default: 5m)")
    if stall:
        group.add("--stall-timeout", **time, help="how long a task may show no change at all (default: none)")
    return group


def add_return_when(group: OptionGroup) -> None:
    """Add when a wait for several tasks ends."""
    group.add(
        "--return-when",
        choices=RETURN_WHEN,
        default="all",
        metavar="WHEN",
        help="all: when every task has ended; any: when one has; first-error: when one has not finished (default: all)",
    )


def add_ready(group: OptionGroup) -> None:
    """Add whether created resources are awaited."""
    group.add("--ready", action="store_true", help="then wait until the created resources are ready, too")


def add_ack(group: OptionGroup) -> None:
    """Add whether tasks are acknowledged."""
    group.add("--ack", action="store_true", help="acknowledge each task once it has ended")


def add_schedule(parser: Parser, *, learn: bool = True) -> None:
    """Add the options of the polling schedule."""
    group = OptionGroup(parser.add_argument_group("how often to poll"))
    alternatives = group.exclusive()
    alternatives.add(
        "--interval", type=typed(parse_interval), metavar="TIME", help="poll at a fixed interval instead of the schedule"
    )
    alternatives.add(
        "--price", type=typed(parse_number), metavar="SECONDS", help="the delay that one request is worth (default: 0.05)"
    )
    if learn:
        add_no_learn(group)
    group.add(
        "--max-rps", type=typed(parse_number), metavar="N", help="at most this many requests a second, all tasks together"
    )


def add_no_learn(group: OptionGroup) -> None:
    """Add whether the API is asked for past durations."""
    group.add("--no-learn", action="store_true", help="do not ask the API how long earlier tasks of the type took")


def add_watch(parser: Parser) -> None:
    """Add whether the listing is repeated, and how often."""
    group = OptionGroup(parser.add_argument_group("changes"))
    group.add("--watch", action="store_true", help="show changes until Ctrl-C: a live table, elsewhere a line for each change")
    group.add(
        "--interval", type=typed(parse_interval), default=2.0, metavar="TIME", help="time between two listings (default: 2s)"
    )
    group.add(
        "--max-outage",
        type=typed(parse_duration),
        metavar="TIME",
        help="how long the API may give no usable answer to --watch (default: 5m)",
    )


def add_result(parser: Parser, formats: Collection[str], *, query: bool = True) -> None:
    """Add what is written to standard output."""
    group = OptionGroup(parser.add_argument_group("result, on standard output"))
    group.add(
        "-o",
        "--output",
        choices=tuple(formats),
        metavar="FORMAT",
        help=f"{', '.join(formats)} (default: text on a terminal, otherwise json)",
    )
    if query:
        group.add("--query", metavar="JMESPATH", help="a part of the JSON, such as 'created_resources.instances[0]'")
        group.add("--strict", action="store_true", help="exit with 2 if the result of --query is null")


def add_progress(parser: Parser) -> None:
    """Add what is written to standard error."""
    group = OptionGroup(parser.add_argument_group("progress, on standard error"))
    group.add(
        "--progress",
        choices=PROGRESS,
        default="auto",
        metavar="HOW",
        help="live: redrawn in place; lines: one at each change, and heartbeats; none; auto: what fits (default: auto); "
        "with a log, only heartbeats",
    )
    group.add("-q", "--quiet", action="store_true", help="no progress; errors are still written")
    _add_log(group)


def add_log(parser: Parser) -> None:
    """Add the options of the log, for commands without progress."""
    _add_log(OptionGroup(parser.add_argument_group("log, on standard error")))


def _add_log(group: OptionGroup) -> None:
    group.add(
        "--log-format",
        choices=LOG_FORMATS,
        metavar="FORMAT",
        help="none, console or json; with json every line on standard error is an object (default: none)",
    )
    group.add(
        "--log-level",
        choices=LEVELS,
        metavar="LEVEL",
        help="debug, info, warning or error; debug also shows where an internal fault occurred (default: info)",
    )


def add_telemetry(parser: Parser) -> None:
    """Add whether waits are recorded."""
    group = OptionGroup(parser.add_argument_group("telemetry"))
    group.add(
        "--otel",
        action="store_true",
        help="export each wait as a span, and metrics, by OpenTelemetry, as the OTEL_* variables say",
    )


def add_simulation(parser: Parser) -> None:
    """Add the options of the simulation."""
    group = OptionGroup(parser.add_argument_group("simulation"))
    group.add(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="address to listen on (default: 127.0.0.1:0, any free port)",
    )
    group.add("--speed", type=typed(parse_number), metavar="FACTOR", help="how many times faster than real tasks (default: 1)")
    group.add("--latency", type=typed(parse_duration), metavar="TIME", help="the delay of each response (default: 0)")
    group.add("--fault-rate", type=typed(parse_share), metavar="SHARE", help="the share of requests that fail (default: 0)")


def add_connection(parser: Parser) -> None:
    """Add the address of the API and the key."""
    group = OptionGroup(parser.add_argument_group("connection (the key itself is read from GCORE_API_KEY)"))
    group.add("--api-key-file", metavar="FILE", also="GCORE_API_KEY_FILE", help="contains the key; read again after a 401")
    group.add("--base-url", metavar="URL", also="GCORE_BASE_URL", help="address of the API (default: https://api.gcore.com)")
    group.add("--allow-http", action="store_true", help="send the key unencrypted, to a host that is not this machine")
