"""Translate the arguments of the command into those of the library."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def given_options(args: argparse.Namespace, *names: str) -> dict[str, object]:
    """Return those of the named options that have a value."""
    options = vars(args)
    return {name: options[name] for name in names if options.get(name) is not None and options[name] is not False}


def filter_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the filters of :meth:`waiter.Waiter.list_tasks` that correspond to the parsed arguments."""
    return {"project_id": args.project, "region_id": args.region, "task_type": args.task_type}


def waiter_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of :class:`waiter.Waiter` that correspond to the parsed arguments."""
    limits = ("timeout", "max_outage", "stall_timeout")
    options: dict[str, Any] = given_options(args, "base_url", "allow_http", *limits, "ready", "price", "max_rps")
    if args.api_key_file:
        options["api_key"] = Path(args.api_key_file)
    if getattr(args, "no_learn", False):
        options["learn"] = False
    if getattr(args, "interval", None) is not None:
        from tenacity import wait_fixed  # noqa: PLC0415 - only needed with --interval

        options["wait"] = wait_fixed(args.interval)
    return options
