"""Arguments of the command as arguments of the library."""

from __future__ import annotations

import argparse

from waiter.cli.registry import load_command
from waiter.console.arguments import waiter_options


def parse(*argv: str) -> argparse.Namespace:
    return load_command("wait").make_parser().parse(argv, {})


def test_options_become_arguments_of_the_library() -> None:
    """Options that are not given are left to the library with its defaults and its environment."""
    assert waiter_options(parse("a")) == {}
    options = waiter_options(parse("a", "--timeout", "none", "--no-learn", "--price", "2", "--max-rps", "5", "--allow-http"))
    assert options == {"timeout": float("inf"), "learn": False, "price": 2.0, "max_rps": 5.0, "allow_http": True}
    files = waiter_options(parse("a", "--api-key-file", "key", "--base-url", "https://x", "--timeout", "0"))
    assert {name: str(value) for name, value in files.items()} == {"api_key": "key", "base_url": "https://x", "timeout": "0.0"}
    assert waiter_options(parse("a", "--interval", "2"))["wait"].wait_fixed == 2
