"""waiter tells you the moment a Gcore Cloud task ends, hands you what it created, or says exactly why not."""

# Nothing is imported here, not even typing: until the command has installed its handlers, a signal would print a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from waiter import aio
    from waiter._version import __version__
    from waiter.aio import AsyncWaiter
    from waiter.config.options import Limits, Options
    from waiter.errors import (
        ApiError,
        ApiUnavailableError,
        AuthenticationError,
        ConfigurationError,
        InvalidResponseError,
        PermissionDeniedError,
        ResourceError,
        TaskError,
        TaskNotFoundError,
        TasksError,
        TaskStalledError,
        TaskTimeoutError,
        WaiterError,
    )
    from waiter.events import Event
    from waiter.outcome import Outcome, ReturnWhen
    from waiter.schedule.history import History
    from waiter.schedule.schedule import Schedule, TimeLeft
    from waiter.task import CreatedResources, Task, TaskState
    from waiter.wait import Waiter, acknowledge, list_tasks, wait_for_task, wait_for_tasks

__all__ = [
    "ApiError",
    "ApiUnavailableError",
    "AsyncWaiter",
    "AuthenticationError",
    "ConfigurationError",
    "CreatedResources",
    "Event",
    "History",
    "InvalidResponseError",
    "Limits",
    "Options",
    "Outcome",
    "PermissionDeniedError",
    "ResourceError",
    "ReturnWhen",
    "Schedule",
    "Task",
    "TaskError",
    "TaskNotFoundError",
    "TaskStalledError",
    "TaskState",
    "TaskTimeoutError",
    "TasksError",
    "TimeLeft",
    "Waiter",
    "WaiterError",
    "__version__",
    "acknowledge",
    "aio",
    "list_tasks",
    "wait_for_task",
    "wait_for_tasks",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # pytest imports this package in every project for its plugin, and the command for its help: neither needs HTTP.
        from waiter._lazy import loads_lazily  # noqa: PLC0415 - see above

        homes = [
            "_version",
            "errors",
            "task",
            "outcome",
            "events",
            "schedule.history",
            "schedule.schedule",
            "config.options",
            "wait",
            "aio",
        ]
        return loads_lazily(__name__, __all__, homes)(name)
