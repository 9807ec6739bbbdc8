"""The arguments that make a tenacity ``Retrying`` follow a ``PollState``, which is the first argument of the retried function.

One mapping serves both drivers and all waits: tenacity's loop is the state machine, and calls the hooks in this order.
"""

from __future__ import annotations

from typing import Any

# The exception of a poll is an ApiError or None: any other, such as KeyboardInterrupt, ends the wait before a hook is called.
HOOKS: dict[str, Any] = {
    "retry": lambda call: call.args[0].should_retry(call.outcome.exception()),
    "after": lambda call: call.args[0].record_failure(call.outcome.exception()),
    "wait": lambda call: call.args[0].next_delay(call),
    "stop": lambda call: call.args[0].should_stop(),
    "before_sleep": lambda call: call.args[0].report_failure(call.upcoming_sleep),
    "retry_error_callback": lambda call: call.args[0].raise_final_error(),
}
