"""The options of the sidecar, checked together, so that one error names all problems."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple, cast

from waiter.config.options import Options
from waiter.config.settings import resolve
from waiter.config.task_ids import task_ids
from waiter.console.arguments import waiter_options
from waiter.errors import ConfigurationError
from waiter.sidecar.address import Address, UnixAddress
from waiter.sidecar.service import MAX_WAITS
from waiter.sidecar.web.access_control import Token
from waiter.sidecar.webhook.signature import SecretFile
from waiter.sidecar.webhook.targets import Targets, parse_url


class WebhookOptions(NamedTuple):
    """Where the ends of waits may be sent, and the secrets that sign them."""

    targets: Targets
    secrets: SecretFile


class SidecarOptions(NamedTuple):
    """The options of ``waiter sidecar``; ``wait`` are the options of every wait."""

    task_ids: list[str]
    wait: Options
    state_dir: Path
    listen: Address | UnixAddress = Address("127.0.0.1:8080")
    probe_listen: Address = Address("0.0.0.0:8081")
    token: Token | None = None
    result_file: Path | None = None
    exits_on_error: bool = True
    max_waits: int = MAX_WAITS
    keep_ended: float | None = None
    webhook: WebhookOptions | None = None


def read_options(args: argparse.Namespace) -> SidecarOptions:
    """Return the options from parsed arguments; raises ConfigurationError with every problem in them."""
    problems: list[str] = []
    wait = cast("Options", waiter_options(args))
    for check in (
        lambda: resolve(wait),
        lambda: task_ids({"tasks": args.task_ids}),
        lambda: _token(args),
        lambda: _webhook(args),
    ):
        try:
            check()
        except ConfigurationError as error:
            problems += error.problems
    if not args.listen.is_private and args.token_file is None:
        problems.append(
            f"{args.listen} is reachable from other machines: use --token-file, or listen on 127.0.0.1 or unix:PATH"
        )
    if problems:
        raise ConfigurationError(*problems)
    return SidecarOptions(
        task_ids({"tasks": args.task_ids}),
        wait,
        Path(args.state_dir),
        args.listen,
        args.probe_listen,
        _token(args),
        Path(args.result_file) if args.result_file else None,
        args.on_error == "exit",
        args.max_waits,
        args.keep_ended,
        _webhook(args),
    )


def _token(args: argparse.Namespace) -> Token | None:
    return Token(Path(args.token_file)) if args.token_file else None


def _webhook(args: argparse.Namespace) -> WebhookOptions | None:
    if args.webhook is None and not args.webhook_allow:
        return None
    if args.webhook_secret_file is None:
        message = "webhooks need --webhook-secret-file: receivers verify the signature"
        raise ConfigurationError(message)
    default = None if args.webhook is None else parse_url(args.webhook)
    targets = Targets(default, frozenset(args.webhook_allow), allows_private=args.webhook_allow_private)
    return WebhookOptions(targets, SecretFile(Path(args.webhook_secret_file)))
