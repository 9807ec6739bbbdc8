"""The arguments that make a tenacity ``Retrying`` follow the plan that its function is called with, as the first argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenacity import RetryCallState


def _answer_of_the_plan(question: str) -> Callable[[RetryCallState], Any]:
    def answer(state: RetryCallState) -> Any:  # noqa: ANN401 - tenacity's questions differ
        return getattr(state.args[0], question)(state)

    return answer


HOOKS: dict[str, Any] = {
    "before": _answer_of_the_plan("start_look"),
    "retry": _answer_of_the_plan("goes_on"),
    "after": _answer_of_the_plan("take_failure"),
    "wait": _answer_of_the_plan("pause"),
    "stop": _answer_of_the_plan("is_over"),
    "before_sleep": _answer_of_the_plan("tell_failure"),
    "retry_error_callback": _answer_of_the_plan("give_up"),
}
