"""``waiter simulate``: serve a simulated Gcore Cloud over HTTP."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import threading
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waiter.cli import options
from waiter.cli.exec_command import require_command
from waiter.cli.parser import Parser
from waiter.cli.registry import COMMANDS
from waiter.cli.wait_thread import MAX_BLOCKING
from waiter.console import signals, stderr
from waiter.console.arguments import given_options
from waiter.console.exit_codes import ExitCode
from waiter.console.streams import write_result
from waiter.errors import ConfigurationError
from waiter.testing import cloud_from_script
from waiter.testing.script_file import schema

if TYPE_CHECKING:
    from waiter.testing import SimulatedCloud, SimulatedServer

_DEFAULT_SCRIPT: dict[str, Any] = {
    "tasks": [
        {
            "id": "11111111-1111-4111-8111-111111111111",
            "phases": [
                {"state": "NEW", "seconds": 2},
                {"state": "RUNNING", "seconds": 13, "detailed_state": "NETWORK"},
                {"state": "FINISHED"},
            ],
            "created_resources": {"instances": 1, "volumes": 1},
            "fields": {"data": {"name": "web-1"}},
            "starts_when_seen": True,
        },
        {
            "id": "22222222-2222-4222-8222-222222222222",
            "phases": [{"state": "RUNNING", "seconds": 8}, {"state": "ERROR"}],
            "error": "No valid host was found",
            "created_resources": {"volumes": 1},
            "fields": {"data": {"name": "web-2"}},
            "starts_when_seen": True,
        },
        {"id": "33333333-3333-4333-8333-333333333333", "phases": [{"state": "RUNNING"}], "task_type": "create_k8s_cluster_v2"},
    ],
    "past": [{"task_type": "create_vm", "durations": [12, 14, 14, 15, 15, 15, 16, 16, 17, 19, 21, 30]}],
}


def make_parser() -> Parser:
    """Return the parser of ``waiter simulate``."""
    parser = Parser(
        "simulate",
        "[OPTIONS] [SCRIPT] [-- COMMAND [ARGUMENT...]]",
        summary=COMMANDS["simulate"],
        examples=(
            "waiter simulate\n"
            "waiter simulate --schema > simulation.schema.json\n"
            "waiter simulate cloud.toml --speed 10 --listen 127.0.0.1:8090\n"
            "waiter simulate cloud.toml -- make deploy              # with GCORE_BASE_URL and GCORE_API_KEY set"
        ),
        epilog="Ctrl-C and SIGTERM stop it with exit code 0; after a COMMAND, the exit code is the command's.",
    )
    parser.add_argument(
        "script", nargs="?", metavar="SCRIPT", help="TOML or JSON file of tasks and faults; without it, three tasks"
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of SCRIPT, for editors, and exit")
    options.add_simulation(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve until a signal arrives or the command has ended, and return the exit code."""
    if args.schema:
        write_result(f"{json.dumps(schema(), indent=2)}\n")
        return ExitCode.FINISHED
    require_command(args.command, args.environ)
    script = _read_script(Path(args.script)) if args.script else _DEFAULT_SCRIPT
    cloud = _make_cloud(script, given_options(args, "speed", "latency", "fault_rate"))
    server = _listen(cloud, args.listen)
    try:
        connection = {"GCORE_BASE_URL": server.url, "GCORE_API_KEY": cloud.api_key}
        if args.command:
            return run_against(args.command, args.environ | connection)
        write_result(_instructions(connection, script))
        return _serve_until_stopped()
    finally:
        server.unplug()


def _read_script(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        script = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}"
        raise ConfigurationError(message) from None
    except ValueError as error:
        message = f"cannot read {file}: {error}"
        raise ConfigurationError(message) from None
    if not isinstance(script, dict):
        message = f"cannot read {file}: it does not contain an object"
        raise ConfigurationError(message)
    return script


def _make_cloud(script: Mapping[str, Any], options: Mapping[str, Any]) -> SimulatedCloud:
    try:
        return cloud_from_script(script, record=False, strict=False, **options)
    except ValueError as error:
        raise ConfigurationError(*str(error).splitlines()) from None


def _listen(cloud: SimulatedCloud, where: str) -> SimulatedServer:
    host, _, port = where.rpartition(":")
    try:
        server = cloud.serve(host.strip("[]") or "127.0.0.1", int(port))
        server.plug()
    except (OSError, ValueError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "it must look like 127.0.0.1:8090"
        message = f"cannot listen on {where}: {why}"
        raise ConfigurationError(message) from None
    return server


def _instructions(connection: Mapping[str, str], script: Mapping[str, Any]) -> str:
    """Return the connection and the task IDs, as lines that a shell can ``eval``."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in connection.items()]
    lines += [f"# waiter wait {task['id']}" for task in script.get("tasks", []) if task.get("id")]
    return "".join(f"{line}\n" for line in lines)


def _serve_until_stopped() -> int:
    stderr.info("simulating; Ctrl-C stops it")
    try:
        while True:
            threading.Event().wait(MAX_BLOCKING)
    except signals.Interrupted:
        pass
    return ExitCode.FINISHED


def run_against(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command while the simulation serves it, forward signals to it, and return its exit code."""
    with subprocess.Popen(command, env=environ) as child:  # noqa: S603 - the user's command
        while True:
            try:
                code = child.wait()
            except signals.Interrupted as interruption:
                # The terminal sends Ctrl-C to the command as well.
                if interruption.name != signal.SIGINT.name:
                    child.terminate()
            else:
                return code if code >= 0 else 128 - code
