"""waiter tells you the moment a Gcore Cloud task ends, hands you what it made, or says exactly why not."""

from waiter import aio
from waiter._version import __version__
from waiter.errors import (
    ApiError,
    ApiUnavailableError,
    AuthenticationError,
    ConfigurationError,
    InvalidResponseError,
    PermissionDeniedError,
    TaskError,
    TaskNotFoundError,
    TasksError,
    TaskStalledError,
    TaskTimeoutError,
    WaiterError,
)
from waiter.events import Event
from waiter.schedule import History, Schedule, TimeLeft
from waiter.settings import Options
from waiter.task import CreatedResources, Task, TaskState
from waiter.wait import AsyncWaiter, Waiter, wait_for_task

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
    "Options",
    "PermissionDeniedError",
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
    "aio",
    "wait_for_task",
]
