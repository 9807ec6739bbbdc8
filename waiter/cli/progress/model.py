"""What is known of every awaited task, updated by events and outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

from waiter.cli.output.result import TaskResult, task_duration
from waiter.console.exit_codes import is_still_running
from waiter.console.formatting import format_duration, printable, with_short_ids
from waiter.errors import ResourceError, TaskError, TaskNotFoundError, described
from waiter.schedule.schedule import Schedule

if TYPE_CHECKING:
    from waiter.events import Event
    from waiter.outcome import Outcome
    from waiter.schedule.history import History
    from waiter.schedule.schedule import TimeLeft
    from waiter.task import Task, TaskSnapshot


# The history of a task type serves all tasks of the type, although only one wait fetches it.
Schedules: TypeAlias = dict[str | None, Schedule]


class Problem(NamedTuple):
    """Why the last poll failed: the message, the HTTP status if there was an answer, and when the wait gives up."""

    text: str
    status: int | None = None
    gives_up_at: float | None = None

    @classmethod
    def of(cls, event: Event, now: float) -> Self:
        """Return the problem that an event ``poll.failed`` reports; ``now`` is in monotonic seconds."""
        left = event.fields.get("gives_up_in")
        return cls(str(event.fields["error"]), event.fields.get("status"), None if left is None else now + left)

    @property
    def cause(self) -> str:
        """The status of an error, or that there was no response, in a few characters."""
        return str(self.status) if self.status else "no response"

    def describe(self, now: float, *, short: bool = False) -> str:
        """Return ``503, retrying, gives up in 4m10s``, with the whole message unless ``short``."""
        cause = str(self.status) if short and self.status else self.text
        left = None if self.gives_up_at is None else max(0.0, self.gives_up_at - now)
        return f"{cause}, retrying" + ("" if left is None else f", gives up in {format_duration(left)}")


def record_history(schedules: Schedules, task_type: str | None, history: History) -> None:
    """Record how long earlier tasks of a type took; a usual duration replaces no durations."""
    known = schedules.get(task_type)
    if known is None or (history.count and not known.history.count):
        schedules[task_type] = Schedule(history=history)


class TaskRow:
    """One task as last polled; ``now`` is always in monotonic seconds."""

    id_field = "task_id"

    def __init__(self, task_id: str, now: float, schedules: Schedules | None = None) -> None:
        self.task_id = task_id
        self.task: Task | None = None
        self.outcome: Outcome | None = None
        self.problem: Problem | None = None
        self.changed_at = now
        self._created_at: float | None = None
        # The kind and the status of each created resource that is not ready, by kind and ID.
        self._not_ready: dict[tuple[str, str | int], str] = {}
        self._schedules: Schedules = {} if schedules is None else schedules

    def record_event(self, event: Event, now: float) -> None:
        """Record an event of the wait for this task."""
        self.task = event.task or self.task
        if event.name == "task.state_changed":
            self.changed_at = now
        if event.name.startswith("resource."):
            self._record_resource(event)
        if event.name == "poll.failed":
            # Its age is that of the last answer. The row shows the ID already.
            problem = Problem.of(event, now)
            self.problem = problem._replace(text=problem.text.removesuffix(f" ({self.task_id})"))
        else:
            self._record_age(event.age, now)
        if event.name == "poll.recovered":
            self.problem = None
        if event.history and self.task:
            record_history(self._schedules, self.task.task_type, event.history)

    def record_snapshot(self, snapshot: TaskSnapshot, now: float) -> None:
        """Record the task as a listing shows it."""
        if self.task is None or described(self.task) != described(snapshot.task):
            self.changed_at = now
        self.task = snapshot.task
        self._record_age(snapshot.age, now)

    def _record_age(self, age: float | None, now: float) -> None:
        if age is not None:
            # The estimate of the server's clock improves with every answer; the age shown never decreases.
            self._created_at = min(now - age, now if self._created_at is None else self._created_at)

    def _record_resource(self, event: Event) -> None:
        if event.name == "resource.state_changed":
            kind, status = event.fields["kind"], event.fields["new"]
            self._not_ready[kind, event.fields["resource_id"]] = f"{kind} {status or 'without status'}"
        elif event.name == "resource.ready":
            self._not_ready.pop((event.fields["kind"], event.fields["resource_id"]), None)

    def record_outcome(self, outcome: Outcome, now: float) -> None:
        """Record how the wait for this task ended."""
        self.outcome = outcome
        self.changed_at = now
        failed = outcome.error.task if isinstance(outcome.error, TaskError | ResourceError) else None
        self.task = outcome.task or failed or getattr(outcome.error, "last_task", None) or self.task

    @property
    def state(self) -> str:
        """The state in full, such as ``RUNNING/NETWORK``, or ``FINISHED, images saving`` while resources are awaited."""
        if self.task is None:
            return "not polled yet"
        if self.outcome is not None and isinstance(self.outcome.error, TaskNotFoundError):
            return "gone"
        waiting_for = list(self._not_ready.values())
        more = [f"{len(waiting_for) - 1} more"] if len(waiting_for) > 1 else []
        return printable(", ".join([described(self.task), *waiting_for[:1], *more]))

    @property
    def created_count(self) -> int:
        """How many resources the task has created."""
        return sum(map(len, self.task.created_resources.as_dict().values())) if self.task else 0

    @property
    def is_getting_ready(self) -> bool:
        """Whether the task is FINISHED and some of what it created is not ready."""
        return bool(self._not_ready) and self.outcome is None

    @property
    def name(self) -> str:
        """The type of the task, what it acts on and its ID, as far as they are known."""
        known = [self.task.task_type, self.target] if self.task else []
        return " ".join([*(printable(text) for text in known if text), self.task_id])

    @property
    def short_id(self) -> str:
        """The first digits of the ID."""
        return self.task_id[:8]

    @property
    def target(self) -> str:
        """What the task acts on, with short IDs; empty if unknown."""
        return printable(with_short_ids(self.task.target)) if self.task and self.task.target else ""

    @property
    def has_failed(self) -> bool:
        """Whether the task is in ERROR, or the wait for it ended with an error after which it is not known to run."""
        if self.task is not None and self.task.failed:
            return True
        return self.outcome is not None and self.outcome.error is not None and not is_still_running(self.outcome.error)

    @property
    def has_finished(self) -> bool:
        """Whether the task is FINISHED, and what it created is ready as far as that is awaited."""
        if self.task is None or not self.task.ended or self.task.failed:
            return False
        return not self._not_ready and (self.outcome is None or self.outcome.error is None)

    def age(self, now: float) -> float | None:
        """Return the age of the task in seconds or, once it has ended, how long it took; None if unknown."""
        if self.task and self.task.ended:
            return task_duration(self.task)
        return None if self._created_at is None else now - self._created_at

    def since_created(self, now: float) -> float | None:
        """Return how many seconds ago the task was created; None if unknown."""
        return None if self._created_at is None else now - self._created_at

    def time_left(self, now: float) -> TimeLeft | None:
        """Return the estimated time left; None without a history of the task's type."""
        age, schedule = self.age(now), self._schedule
        return None if schedule is None or age is None else schedule.time_left(age)

    @property
    def _schedule(self) -> Schedule | None:
        if self.task is None or self.task.ended or self.outcome:
            return None
        return self._schedules.get(self.task.task_type)

    def estimate(self, now: float) -> str:
        """Return the time left as text, the usual duration while there is no estimate of it, or an empty text."""
        if left := self.time_left(now):
            return f"about {format_duration(left.median)} left" + (f" (90%: {format_duration(left.p90)})" if left.p90 else "")
        age, usual = self.age(now), self._schedule.history.usual if self._schedule else None
        if usual is None or age is None or age > usual[1]:
            return ""
        return f"usually {format_duration(usual[0])} to {format_duration(usual[1])}"

    def times(self, now: float) -> str:
        """Return the age and the time left as text: ``19s old, about 12s left (90%: 40s)``; empty if unknown."""
        age = self.age(now)
        ended = self.task is not None and self.task.ended
        old = None if age is None else f"took {format_duration(age)}" if ended else f"{format_duration(age)} old"
        return ", ".join(filter(None, [old, self.estimate(now)]))


class ResourceRow(TaskRow):
    """One resource of ``waiter until`` as last polled; its path stands for the ID."""

    id_field = "path"

    def __init__(self, path: str, now: float) -> None:
        super().__init__(path, now)
        self._value: str | None = None

    def _record_resource(self, event: Event) -> None:
        self._value = event.fields.get("new", self._value)

    @property
    def state(self) -> str:
        """The awaited value."""
        return "not polled yet" if self._value is None else printable(self._value)

    @property
    def short_id(self) -> str:
        """The first digits of the last segment."""
        return self.task_id.rpartition("/")[2][:8]

    @property
    def has_finished(self) -> bool:
        """Whether the resource is as awaited."""
        return self.outcome is not None and self.outcome.error is None


class ListingRow(TaskRow):
    """The list of tasks with which a wait begins; its path stands for the ID."""

    id_field = "path"

    @property
    def state(self) -> str:
        """Nothing is known before the list is there."""
        return "not known yet"

    @property
    def name(self) -> str:
        """What is awaited."""
        return "the list of tasks"


class ProgressModel:
    """All awaited or listed tasks, in the order in which they were given."""

    def __init__(self, task_ids: Iterable[str], now: float) -> None:
        self.started_at = now
        # Why there is no listing, and what stands for an empty one.
        self.problem: Problem | None = None
        self.empty_text = ""
        self._schedules: Schedules = {}
        self.rows: dict[str, TaskRow] = {}
        for task_id in task_ids:
            self.add(task_id, now)

    def add(self, task_id: str, now: float) -> TaskRow:
        """Add a task, and return its row."""
        row = self.rows[task_id] = TaskRow(task_id, now, self._schedules)
        return row

    def record_histories(self, histories: Mapping[str, History]) -> None:
        """Record how long earlier tasks of several types took."""
        for task_type, history in histories.items():
            record_history(self._schedules, task_type, history)

    @property
    def pending(self) -> list[TaskRow]:
        """The tasks whose wait has not ended."""
        return [row for row in self.rows.values() if row.outcome is None]

    def results(self) -> list[TaskResult]:
        """Return the last known state of every task."""
        return [TaskResult(row.task_id, row.task, row.outcome.error if row.outcome else None) for row in self.rows.values()]
