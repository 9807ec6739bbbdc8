"""What the tools that print or send tracebacks show of the local variables of waiter: never the API key."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import key_parts
import pytest
import sentry_sdk
from key_parts import RAISING, all_errors, blocking, blocking_many, leaks, raised, under_asyncio
from rich.console import Console
from rich.traceback import Traceback
from sentry_sdk.envelope import Envelope
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.transport import Transport


def as_rich(error: BaseException) -> str:
    """Return what rich prints, with values of any length."""
    file = io.StringIO()
    found = Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_length=10_000,
        locals_max_string=100_000,
        locals_hide_dunder=False,
        max_frames=0,
        width=10_000,
    )
    Console(file=file, width=10_000).print(found)
    return file.getvalue()


def as_pytest(error: BaseException) -> str:
    """Return what pytest prints of a failed test with ``--showlocals -vv``."""
    return str(pytest.ExceptionInfo.from_exception(error).getrepr(showlocals=True, style="long", truncate_locals=False))


class _Kept(Transport):
    """A transport that sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events.append(envelope.get_event())


@pytest.fixture
def sentry() -> Iterator[_Kept]:
    """Initialize the SDK of Sentry, without its own search for secrets, and return what it would send."""
    transport = _Kept()
    nothing = EventScrubber(denylist=[], pii_denylist=[])
    sentry_sdk.init("https://public@sentry.example/1", transport=transport, event_scrubber=nothing, max_value_length=100_000)
    yield transport
    sentry_sdk.init()


def without_frames_of_the_user(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the functions that have the key in their own variables; callbacks have none."""
    if traceback is None:
        return None
    following = without_frames_of_the_user(traceback.tb_next)
    code = traceback.tb_frame.f_code
    if Path(code.co_filename) in {Path(__file__), Path(key_parts.__file__)} and code.co_name != "<lambda>":
        return following
    return TracebackType(following, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


@pytest.fixture(params=[blocking, blocking_many, under_asyncio], ids=lambda driver: driver.__name__)
def driver(request: pytest.FixtureRequest) -> Callable[..., object]:
    found: Callable[..., object] = request.param
    return found


@pytest.mark.parametrize("case", RAISING)
def test_reported_error_shows_no_key(
    driver: Callable[..., object], case: str, sentry: _Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the local variables of each frame, and of each error that caused it, at full length."""
    error = raised(driver, case, monkeypatch)
    for one in all_errors(error):
        one.__traceback__ = without_frames_of_the_user(one.__traceback__)
    sentry_sdk.capture_exception(error)
    shown = {"rich": as_rich(error), "pytest": as_pytest(error), "sentry": json.dumps(sentry.events, default=repr)}
    assert {tool: leaks(text) for tool, text in shown.items()} == {"rich": [], "pytest": [], "sentry": []}
    assert [tool for tool, text in shown.items() if type(error).__name__ not in text] == []


def test_key_in_a_variable_of_the_user_is_shown(sentry: _Kept) -> None:
    """By each of the tools: the test above can fail."""
    with pytest.raises(ZeroDivisionError) as caught:
        _fail(key_parts.KEY)
    error = caught.value
    sentry_sdk.capture_exception(error)
    for text in (as_rich(error), as_pytest(error), json.dumps(sentry.events, default=repr)):
        assert key_parts.KEY in leaks(text)


def _fail(key: str) -> float:
    return len(key) / 0
