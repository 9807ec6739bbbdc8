"""``waiter sidecar``: its parser, and the way to what it does."""

from __future__ import annotations

import argparse

from waiter.cli.options import Group, add_connection, add_limits, add_log, add_pace
from waiter.cli.parser import Parser, typed
from waiter.console.exit_codes import ExitCode
from waiter.console.signals import Interrupted
from waiter.errors import ConfigurationError

_EXTRA = {"prometheus_client", "starlette", "uvicorn"}
STATE_DIR = "/var/lib/waiter"


def make_parser() -> Parser:
    """Make the parser of ``waiter sidecar``."""
    parser = Parser(
        "sidecar",
        "[OPTIONS] [TASK_ID...]",
        summary="Wait for tasks on behalf of other programs, which ask over HTTP; nothing accepted is lost.",
        examples=(
            "waiter sidecar --state-dir /var/lib/waiter\n"
            "waiter sidecar TASK_ID --result-file /shared/result.json    # ready once the task is FINISHED\n"
            'curl --json \'{"tasks": ["TASK_ID"]}\' http://127.0.0.1:8080/v1/waits\n'
            "curl 'http://127.0.0.1:8080/v1/waits/TASK_ID?wait=30s'"
        ),
        epilog="SIGTERM and SIGINT end it with exit code 0; its waits go on when it is started again.",
    )
    parser.add_argument("task_ids", nargs="*", metavar="TASK_ID", help="tasks that must be FINISHED before it is ready")
    _add_service(Group(parser.add_argument_group("service")))
    add_limits(parser)
    add_pace(parser)
    add_log(parser)
    add_connection(parser)
    return parser


def _add_service(group: Group) -> None:
    address = {"type": typed(_address), "metavar": "HOST:PORT"}
    group.add("--listen", **address, default="127.0.0.1:8080", help="where programs ask and the page is; 127.0.0.1:8080")
    group.add("--probe-listen", **address, default="0.0.0.0:8081", help="where probes and metrics are; 0.0.0.0:8081")
    group.add("--state-dir", metavar="DIR", default=STATE_DIR, help=f"keeps the waits, for one sidecar; {STATE_DIR}")
    group.add("--result-file", metavar="FILE", help="gets the JSON of the tasks given here once all have ended")
    group.add(
        "--on-error",
        choices=("exit", "stay"),
        default="exit",
        metavar="WHAT",
        help="exit (with the code of waiter wait) or stay, when a task given here ends badly; exit",
    )
    group.add("--token-file", metavar="FILE", help="holds the token that programs must show; needed beyond loopback")


def _address(text: str) -> object:
    from waiter.sidecar.address import Address  # noqa: PLC0415 - for this command only

    return Address(text)


def run(args: argparse.Namespace) -> int:
    """Run the sidecar and give its exit code, which is 0 for one that was told to stop before it had come up."""
    try:
        from waiter.sidecar import main  # noqa: PLC0415 - for those who have installed what it needs

        return main.run(args)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        message = f"waiter sidecar needs {error.name}: pip install 'gcore-waiter[sidecar]'"
        raise ConfigurationError(message) from error
    except Interrupted:
        return ExitCode.FINISHED
