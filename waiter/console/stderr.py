"""Messages on standard error: lines of text or, with ``--log-format json``, one JSON object a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waiter.console.exit_codes import exit_code
from waiter.console.formatting import printable
from waiter.console.streams import write_stderr
from waiter.errors import ApiError, AuthenticationError, ConfigurationError, WaiterError

# Observed: the API answers "Bad permanent token" to the part of a token that the shell left.
_DOLLAR_HINT = "a key with a $ in it must stand in single quotes, or the shell expands part of it"
# The library's messages name its arguments; the command has options.
_OPTION_NAMES = {
    "or pass api_key": "or use --api-key-file",
    "allow_http=True": "--allow-http",
    "pass an httpx client that supports it": "name one of those in HTTPS_PROXY",
    ": wait for the same ID again to resume": "",
}


class _Format:
    json = False
    mask: Callable[[str], str] = str


def use_json(enabled: bool) -> None:
    """Write all later messages as JSON objects, or as lines of text."""
    _Format.json = enabled


def mask_with(mask: Callable[[str], str]) -> None:
    """Pass each later line through ``mask``, which returns it without secrets."""
    _Format.mask = mask


def format_message(event: str, text: str, *, level: str = "error", **data: object) -> str:
    """Return the line to write: the text, or a JSON object with the data; without data the object has the text."""
    if not _Format.json:
        return f"{text}\n"
    import json  # noqa: PLC0415 - only needed for JSON
    from datetime import UTC, datetime  # noqa: PLC0415 - as above

    timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    content = data or {"message": text.removeprefix("waiter: ")}
    return json.dumps({**content, "event": event, "level": level, "timestamp": timestamp}) + "\n"


def write_line(line: str) -> None:
    """Write a line of the log or a message, without secrets."""
    write_stderr(_Format.mask(line))


def write_message(text: str, event: str, *, level: str, **data: object) -> None:
    """Write a message of this level, prefixed with the name of the command."""
    write_line(format_message(event, f"waiter: {text}", level=level, **data))


def error(text: str, event: str, **data: object) -> None:
    """Write an error message."""
    write_message(text, event, level="error", **data)


def warn(text: str) -> None:
    """Write a warning."""
    write_message(text, "waiter.warned", level="warning")


def info(text: str) -> None:
    """Write an informational message."""
    write_message(text, "waiter.told", level="info")


def describe(fault: WaiterError) -> str:
    """Return the message of an error in the terms of the command, with the notes that the error carries."""
    text = "; ".join(fault.problems) if isinstance(fault, ConfigurationError) else str(fault)
    for argument, option in _OPTION_NAMES.items():
        text = text.replace(argument, option)
    hints = [_DOLLAR_HINT] if isinstance(fault, AuthenticationError) else []
    return printable("; ".join([text, *hints, *getattr(fault, "__notes__", [])]))


def error_fields(fault: WaiterError) -> dict[str, Any]:
    """Return an error as data: its message, the exit code, and the request ID that Gcore's support asks for."""
    if isinstance(fault, ConfigurationError):
        message: dict[str, Any] = {"problems": [describe(ConfigurationError(problem)) for problem in fault.problems]}
    else:
        message = {"error": describe(fault)}
    response = {"status": fault.status, "request_id": fault.request_id} if isinstance(fault, ApiError) else {}
    return {**message, "exit_code": int(exit_code(fault)), **response}
