"""What is said on standard error: lines for people or, beside a log in JSON, one object a line for programs."""

from __future__ import annotations

from typing import Any

from waiter.console.exit_codes import exit_code
from waiter.console.formatting import safe
from waiter.console.streams import say
from waiter.errors import ApiError, AuthenticationError, ConfigurationError, WaiterError

# Seen in the wild: the API says "Bad permanent token" of one half of a token.
_EATEN = "a key with a $ in it must stand in single quotes, or the shell eats part of it"
# The library's messages name what its callers write; who uses the command writes something else.
_OPTIONS = {
    "or pass api_key": "or use --api-key-file",
    "allow_http=True": "--allow-http",
    "pass an httpx client of your own": "name one of those in HTTPS_PROXY",
    ": wait for the same ID again to take up the wait": "",
}


class _Voice:
    in_json = False


def speak(*, in_json: bool) -> None:
    """Say all that follows as JSON, or as lines for people."""
    _Voice.in_json = in_json


def line(event: str, text: str, *, level: str = "error", **data: object) -> str:
    """Give what is to be said of an event: the text for people, or the data, which is the text when there is none."""
    if not _Voice.in_json:
        return f"{text}\n"
    import json  # noqa: PLC0415 - for machines only
    from datetime import UTC, datetime  # noqa: PLC0415

    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    said = data or {"message": text.removeprefix("waiter: ")}
    return json.dumps({**said, "event": event, "level": level, "timestamp": at}) + "\n"


def complain(text: str, event: str, **data: Any) -> None:  # noqa: ANN401 - what line() takes
    """Say one line under the name of the command."""
    say(line(event, f"waiter: {text}", **data))


def warn(text: str) -> None:
    """Say what somebody ought to know."""
    complain(text, "waiter.warned", level="warning")


def inform(text: str) -> None:
    """Say how things are."""
    complain(text, "waiter.told", level="info")


def explain(error: WaiterError) -> str:
    """Say in the words of the command what went wrong, with the notes that the error carries."""
    said = "; ".join(error.problems) if isinstance(error, ConfigurationError) else str(error)
    for theirs, ours in _OPTIONS.items():
        said = said.replace(theirs, ours)
    hints = [_EATEN] if isinstance(error, AuthenticationError) else []
    return safe("; ".join([said, *hints, *getattr(error, "__notes__", [])]))


def facts(error: WaiterError) -> dict[str, Any]:
    """Give the data of an error: why, the exit code, and what Gcore's support will ask for."""
    if isinstance(error, ConfigurationError):
        why: dict[str, Any] = {"problems": [explain(ConfigurationError(problem)) for problem in error.problems]}
    else:
        why = {"error": explain(error)}
    asked = {"status": error.status, "request_id": error.request_id} if isinstance(error, ApiError) else {}
    return {**why, "exit_code": int(exit_code(error)), **asked}
