"""The options, in groups; a command takes the groups that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waiter.cli.parser import typed, variable
from waiter.console.formatting import parse_duration, parse_interval, parse_number, parse_share
from waiter.console.log_format import LEVELS

if TYPE_CHECKING:
    import argparse

    from waiter.cli.parser import Parser

OUTPUTS = ("text", "json", "ids", "env", "github")
RETURN_WHEN = ("all", "any", "first-error")
PROGRESS = ("auto", "live", "lines", "none")
LOG_FORMATS = ("none", "console", "json")


class Group:
    """A group of options, each with its environment variable in its help."""

    def __init__(self, group: argparse._ArgumentGroup) -> None:
        self._group = group

    def exclusive(self) -> Group:
        """Give a part of this group, of which only one option can be given."""
        return Group(self._group.add_mutually_exclusive_group())

    def add(self, *flags: str, **how: Any) -> None:  # noqa: ANN401 - what add_argument takes
        """Add an option; ``also`` names environment variables that mean the same."""
        also = how.pop("also", None)
        action = self._group.add_argument(*flags, **how)
        names = ", ".join(filter(None, [variable(action), also]))
        action.help = f"{action.help} [{names}]"


def add_tasks(parser: Parser) -> None:
    """Add the tasks themselves."""
    parser.add_argument(
        "task_ids",
        nargs="+",
        metavar="TASK_ID",
        help="task IDs; - reads them from standard input, one a line or as the API answered: {'tasks': [...]}",
    )


def add_limits(parser: Parser) -> Group:
    """Add what ends a wait, and give the group."""
    group = Group(parser.add_argument_group("how long to wait"))
    time: dict[str, Any] = {"type": typed(parse_duration), "metavar": "TIME"}
    group.add(
        "--timeout",
        **time,
        also="GCORE_POLLING_TIMEOUT_SECONDS",
        help="give up after this long (90, 90s, 30m, 1h30m, none; default: 2h)",
    )
    group.add("--max-outage", **time, help="how long the API may give no usable answer (default: 5m)")
    group.add("--stall-timeout", **time, help="how long a task may show no change at all (default: none)")
    return group


def add_return_when(group: Group) -> None:
    """Add what ends a wait for several tasks."""
    group.add(
        "--return-when",
        choices=RETURN_WHEN,
        default="all",
        metavar="WHEN",
        help="all: when every task has ended; any: when the first has; first-error: when one ended badly (default: all)",
    )


def add_pace(parser: Parser) -> None:
    """Add how often to poll."""
    group = Group(parser.add_argument_group("how often to poll"))
    pace = group.exclusive()
    pace.add("--interval", type=typed(parse_interval), metavar="TIME", help="poll at a fixed interval instead of the schedule")
    pace.add("--price", type=typed(parse_number), metavar="SECONDS", help="the delay that one request is worth (default: 0.2)")
    group.add("--no-learn", action="store_true", help="do not ask the API how long such tasks took before")
    group.add(
        "--max-rps", type=typed(parse_number), metavar="N", help="at most this many requests a second, all tasks together"
    )


def add_result(parser: Parser, outputs: tuple[str, ...] = OUTPUTS, *, query: bool = True) -> None:
    """Add what goes to standard output."""
    group = Group(parser.add_argument_group("result, on standard output"))
    group.add(
        "-o",
        "--output",
        choices=outputs,
        metavar="FORMAT",
        help=f"{', '.join(outputs)} (default: text on a terminal, otherwise json)",
    )
    if query:
        group.add("--query", metavar="JMESPATH", help="a part of the JSON, such as 'created_resources.instances[0]'")


def add_display(parser: Parser) -> None:
    """Add what goes to standard error."""
    group = Group(parser.add_argument_group("what is told meanwhile, on standard error"))
    group.add(
        "--progress",
        choices=PROGRESS,
        default="auto",
        metavar="HOW",
        help="live: redrawn in place; lines: at each change, and heartbeats; none; auto: what fits; a log has the lines in it "
        "(default: auto)",
    )
    group.add("-q", "--quiet", action="store_true", help="no progress; errors are still told")
    _add_log(group)


def add_log(parser: Parser) -> None:
    """Add the log, for commands that tell nothing meanwhile."""
    _add_log(Group(parser.add_argument_group("log, on standard error")))


def _add_log(group: Group) -> None:
    group.add(
        "--log-format",
        choices=LOG_FORMATS,
        metavar="FORMAT",
        help="none, console or json, which makes every line on standard error an object (default: none)",
    )
    group.add(
        "--log-level",
        choices=LEVELS,
        metavar="LEVEL",
        help="debug, info, warning or error; debug also tells where an unexpected fault is (default: info)",
    )


def add_simulation(parser: Parser) -> None:
    """Add how the simulation behaves."""
    group = Group(parser.add_argument_group("simulation"))
    group.add("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="where (default: 127.0.0.1:0, any free port)")
    group.add("--speed", type=typed(parse_number), metavar="FACTOR", help="how many times faster than real tasks (default: 1)")
    group.add("--latency", type=typed(parse_duration), metavar="TIME", help="how late each answer comes (default: 0)")
    group.add("--fault-rate", type=typed(parse_share), metavar="SHARE", help="the share of requests that go wrong (default: 0)")


def add_connection(parser: Parser) -> None:
    """Add where the API is and who asks."""
    group = Group(parser.add_argument_group("connection (the key itself is read from GCORE_API_KEY)"))
    group.add("--api-key-file", metavar="FILE", also="GCORE_API_KEY_FILE", help="holds the key; read again after a 401")
    group.add("--base-url", metavar="URL", also="GCORE_BASE_URL", help="where the API is (default: https://api.gcore.com)")
    group.add("--allow-http", action="store_true", help="send the key unencrypted, to a host that is not this machine")
