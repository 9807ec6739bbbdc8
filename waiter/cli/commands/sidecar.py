"""``waiter sidecar``: the command; the package ``waiter.sidecar`` does the work."""

from __future__ import annotations

import argparse
from typing import Any

from waiter.cli.options import OptionGroup, add_connection, add_limits, add_log, add_ready, add_schedule
from waiter.cli.parser import Parser, typed
from waiter.cli.registry import COMMANDS
from waiter.console.exit_codes import ExitCode
from waiter.console.fault_hooks import report_faults
from waiter.console.formatting import parse_duration
from waiter.console.signals import Interrupted
from waiter.errors import ConfigurationError

_EXTRA_MODULES = {"prometheus_client", "starlette", "uvicorn"}
STATE_DIR = "/var/lib/waiter"


def make_parser() -> Parser:
    """Return the parser of ``waiter sidecar``."""
    parser = Parser(
        "sidecar",
        "[OPTIONS] [TASK_ID...]",
        summary=COMMANDS["sidecar"],
        examples=(
            "waiter sidecar --state-dir /var/lib/waiter\n"
            "waiter sidecar TASK_ID --result-file /shared/result.json    # ready once the task is FINISHED\n"
            'curl --json \'{"tasks": ["TASK_ID"]}\' http://127.0.0.1:8080/v1/waits\n'
            "curl 'http://127.0.0.1:8080/v1/waits/TASK_ID?wait=30s'"
        ),
        epilog="SIGTERM and SIGINT stop it with exit code 0; its waits continue when it is started again.",
    )
    parser.add_argument("task_ids", nargs="*", metavar="TASK_ID", help="tasks that must be FINISHED before it reports ready")
    _add_service(OptionGroup(parser.add_argument_group("service")))
    add_ready(add_limits(parser))
    add_schedule(parser)
    add_log(parser)
    add_connection(parser)
    return parser


def _add_service(group: OptionGroup) -> None:
    group.add(
        "--listen",
        type=typed(_control_address),
        metavar="ADDRESS",
        default="127.0.0.1:8080",
        help="HOST:PORT or unix:PATH of the HTTP API and the page (default: 127.0.0.1:8080)",
    )
    address = {"type": typed(_address), "metavar": "HOST:PORT"}
    group.add("--probe-listen", **address, default="0.0.0.0:8081", help="address of probes and metrics (default: 0.0.0.0:8081)")
    group.add("--state-dir", metavar="DIR", default=STATE_DIR, help=f"stores the waits of one sidecar (default: {STATE_DIR})")
    group.add("--result-file", metavar="FILE", help="receives the result of the given tasks as JSON when all have ended")
    group.add(
        "--on-error",
        choices=("exit", "stay"),
        default="exit",
        metavar="WHAT",
        help="exit with the code of waiter wait, or stay, when a given task does not finish (default: exit)",
    )
    group.add(
        "--max-waits", type=typed(_positive), metavar="N", default=2000, help="maximum number of stored waits (default: 2000)"
    )
    group.add(
        "--keep-ended",
        type=typed(parse_duration),
        metavar="TIME",
        help="delete waits this long after their end (default: when another wait needs the place, after an hour or later)",
    )
    group.add("--webhook", metavar="URL", help="receives the end of each wait as a signed POST")
    group.add(
        "--webhook-allow",
        type=typed(_origins),
        action=_Extend,
        default=(),
        metavar="HOST",
        help="requests may name webhooks at HOST[:PORT], which is https, or at http://HOST[:PORT]; repeatable",
    )
    group.add("--webhook-allow-private", action="store_true", help="these hosts may have private addresses")
    group.add(
        "--webhook-secret-file",
        metavar="FILE",
        help="contains the secrets that sign webhooks, each a line whsec_...",
    )
    group.add("--token-file", metavar="FILE", help="contains the token that clients must send; required beyond loopback")


def _positive(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    message = f"not a positive number: {text!r}"
    raise ValueError(message)


def _address(text: str) -> object:
    from waiter.sidecar.address import Address  # noqa: PLC0415 - needs packages of the extra

    return Address(text)


def _control_address(text: str) -> object:
    from waiter.sidecar.address import parse_listen  # noqa: PLC0415 - as above

    return parse_listen(text)


class _Extend(argparse.Action):
    """An option that may be repeated; the command line replaces what the environment has."""

    def __call__(self, _: object, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:  # noqa: ANN401, ARG002
        given = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if given is self.default else (*given, *values))


def _origins(text: str) -> object:
    from waiter.sidecar.webhook.targets import Origin  # noqa: PLC0415 - as above

    return tuple(Origin.parse(word.strip()) for word in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Run the sidecar and return its exit code, which is 0 if it is stopped while it starts."""
    report_faults()
    try:
        from waiter.sidecar import main  # noqa: PLC0415 - as above

        return main.run(args)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA_MODULES:
            raise
        message = f"waiter sidecar needs {error.name}: pip install 'gcore-waiter[sidecar]'"
        raise ConfigurationError(message) from error
    except Interrupted:
        return ExitCode.FINISHED
