"""The arguments that make a tenacity ``Retrying`` follow a ``WaitState``, which is the first argument of the retried function.

One mapping serves both drivers and all waits: tenacity's loop is the state machine, and calls the hooks in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from waiter.errors import ApiError
    from waiter.polling.wait_state import WaitState


def _state(call: RetryCallState) -> WaitState:
    return cast("WaitState", call.args[0])


def _error(call: RetryCallState) -> ApiError | None:
    # Any other exception, such as KeyboardInterrupt, ends the wait before a hook is called.
    return cast("ApiError | None", call.outcome and call.outcome.exception())


HOOKS: dict[str, Any] = {
    "before": lambda call: _state(call).start_poll(),
    "retry": lambda call: _state(call).should_retry(_error(call)),
    "after": lambda call: _state(call).record_failure(_error(call)),
    "wait": lambda call: _state(call).next_delay(call),
    "stop": lambda call: _state(call).should_stop(),
    "before_sleep": lambda call: _state(call).report_failure(call.upcoming_sleep),
    "retry_error_callback": lambda call: _state(call).raise_final_error(),
}
