"""``waiter simulate``: a Gcore Cloud of one's own, over HTTP."""

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

from waiter.cli.follow import LONGEST_NAP
from waiter.cli.next_step import check_command
from waiter.console import signals, stderr
from waiter.console.arguments import given_options
from waiter.console.exit_codes import ExitCode
from waiter.console.streams import write_result
from waiter.errors import ConfigurationError
from waiter.testing import cloud_from_script

if TYPE_CHECKING:
    from waiter.testing import SimulatedCloud, SimulatedServer

_USUAL: dict[str, Any] = {
    "tasks": [
        {
            "id": "11111111-1111-4111-8111-111111111111",
            "phases": [
                {"state": "NEW", "seconds": 2},
                {"state": "RUNNING", "seconds": 13, "detailed_state": "NETWORK"},
                {"state": "FINISHED"},
            ],
            "created_resources": {"instances": 1, "volumes": 1},
            "starts_when_seen": True,
        },
        {
            "id": "22222222-2222-4222-8222-222222222222",
            "phases": [{"state": "RUNNING", "seconds": 8}, {"state": "ERROR"}],
            "error": "No valid host was found",
            "created_resources": {"volumes": 1},
            "starts_when_seen": True,
        },
        {"id": "33333333-3333-4333-8333-333333333333", "phases": [{"state": "RUNNING"}], "task_type": "create_k8s_cluster_v2"},
    ],
    "past": [{"task_type": "create_vm", "durations": [12, 14, 14, 15, 15, 15, 16, 16, 17, 19, 21, 30]}],
}


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes, or until the command has ended, and give the exit code."""
    check_command(args.command, args.environ)
    script = _read_script(Path(args.script)) if args.script else _USUAL
    cloud = _make_cloud(script, given_options(args, "speed", "latency", "fault_rate"))
    server = _listen(cloud, args.listen)
    try:
        connection = {"GCORE_BASE_URL": server.url, "GCORE_API_KEY": cloud.api_key}
        if args.command:
            return run_beside(args.command, args.environ | connection)
        write_result(_introduction(connection, script))
        return _until_stopped()
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
        message = f"cannot read {file}: it is no table of tasks"
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


def _introduction(connection: Mapping[str, str], script: Mapping[str, Any]) -> str:
    """Say where it is, as lines that a shell can ``eval``."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in connection.items()]
    lines += [f"# waiter wait {task['id']}" for task in script.get("tasks", []) if task.get("id")]
    return "".join(f"{line}\n" for line in lines)


def _until_stopped() -> int:
    stderr.info("simulating; Ctrl-C ends it")
    try:
        while True:
            threading.Event().wait(LONGEST_NAP)
    except signals.Interrupted:
        pass
    return ExitCode.FINISHED


def run_beside(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command while this one goes on, hand signals to it, and give its exit code."""
    with subprocess.Popen(command, env=environ) as child:  # noqa: S603 - it is what the user wants
        while True:
            try:
                code = child.wait()
            except signals.Interrupted as interruption:
                # Ctrl-C reaches everything on the terminal by itself.
                if interruption.name != signal.SIGINT.name:
                    child.terminate()
            else:
                return code if code >= 0 else 128 - code
