"""What the sidecar stores for a wait, and how clients see it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from waiter import errors, outcome
from waiter.outcome import WaitStatus
from waiter.schedule.schedule import Schedule
from waiter.task import FINAL_STATES, Task

# Texts of a task come from the API; a text of 16 MB would be sent to every client that lists waits.
MAX_TEXT_LENGTH = 4096
# Of a task that changes its state for days, the first and the latest transitions are kept.
MAX_TRANSITIONS = 200
_REFUSALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def wait_status(error: errors.WaiterError) -> WaitStatus:
    """Return the status of a wait that ended with this error; a refusal counts at the end of an outage too."""
    if isinstance(error, errors.ApiError) and error.status in _REFUSALS:
        return WaitStatus.REFUSED
    return outcome.status_of(error)


class Transition(msgspec.Struct, frozen=True):
    """A change of state as a poll saw it; ``at`` is UTC."""

    at: str
    state: str
    detailed_state: str | None = None


class RequestLimits(NamedTuple):
    """The limits that a request sets for its waits, in seconds; None is the limit of the command line.

    ``webhook`` is a URL to which their ends are sent, beside that of the command line. ``ready`` is whether they last until the
    created resources are ready, None for that of the command line.
    """

    timeout: float | None = None
    max_outage: float | None = None
    webhook: str | None = None
    ready: bool | None = None


NO_LIMITS = RequestLimits()


class Uptime(NamedTuple):
    """A moment of one boot of the machine: the boot's ID, and the seconds since it, which no change of the clock affects."""

    boot_id: str
    seconds: float


def uptime() -> Uptime:
    """Return the present moment of this boot; where the system has no boot ID, it differs for each process."""
    try:
        return Uptime(_boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):  # not Linux
        return Uptime(f"process {os.getpid()}", time.monotonic())


@cache
def _boot_id() -> str:
    """Return the ID of this boot. Raises OSError where the system has none."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One wait.

    Times are seconds since the epoch on this machine's clock; ``task_created_at`` is derived from the age that the API's own
    clock gives. ``refused_key`` is the fingerprint of the key that the API refused at the end of the wait.
    ``timeout`` and ``max_outage`` are seconds; like ``ready`` they are None for those of the command line. ``webhooks`` are the
    URLs to which requests want its end sent; clients do not see them, because a URL may be a secret.
    """

    id: str
    accepted_at: float
    status: WaitStatus = WaitStatus.WAITING
    task: dict[str, Any] | None = None
    created_resources: dict[str, list[str | int]] = {}
    transitions: tuple[Transition, ...] = ()
    error: str | None = None
    ended_at: float | None = None
    refused_key: str | None = None
    accepted_uptime: Uptime | None = None
    timeout: float | None = None
    max_outage: float | None = None
    webhooks: tuple[str, ...] = ()
    ready: bool | None = None
    task_created_at: float | None = msgspec.field(default=None, name="born")  # the name in existing databases

    @property
    def has_ended(self) -> bool:
        """Whether the task is no longer polled."""
        return self.status is not WaitStatus.WAITING

    @property
    def task_has_ended(self) -> bool:
        """Whether the task is FINISHED or in ERROR; the wait may last until what it created is ready."""
        return self.task is not None and self.task["state"] in FINAL_STATES

    def with_task(self, task: Task, age: float | None, now: float) -> Wait:
        """Return the wait with the task as a poll has just returned it; ``age`` is in seconds."""
        summary = task_summary(task)
        return msgspec.structs.replace(
            self,
            task=summary,
            created_resources=task.created_resources.as_dict(),
            transitions=self._transitions_with(summary, now),
            task_created_at=self.task_created_at if age is None else now - age,
        )

    def _transitions_with(self, summary: Mapping[str, Any], now: float) -> tuple[Transition, ...]:
        new = Transition(format_timestamp(now), summary["state"], summary["detailed_state"])
        if self.transitions and msgspec.structs.replace(self.transitions[-1], at=new.at) == new:
            return self.transitions
        half = MAX_TRANSITIONS // 2
        kept = self.transitions
        return (*(kept if len(kept) < MAX_TRANSITIONS else (*kept[:half], *kept[1 - half :])), new)

    def with_end(self, status: WaitStatus, now: float, error: str | None = None, *, refused_key: str | None = None) -> Wait:
        """Return the wait with its final status."""
        return msgspec.structs.replace(self, status=status, ended_at=now, error=error, refused_key=refused_key)

    def restarted(self, now: float, accepted: Uptime, limits: RequestLimits) -> Wait:
        """Return a wait that ended before its task did as one that is waiting again."""
        return msgspec.structs.replace(
            self,
            status=WaitStatus.WAITING,
            accepted_at=now,
            accepted_uptime=accepted,
            ended_at=None,
            error=None,
            refused_key=None,
            timeout=limits.timeout,
            max_outage=limits.max_outage,
            ready=limits.ready,
        ).with_webhook(limits.webhook)

    def with_webhook(self, url: str | None) -> Wait:
        """Return the wait with another URL to which its end is sent; None changes nothing."""
        if url is None or url in self.webhooks:
            return self
        return msgspec.structs.replace(self, webhooks=(*self.webhooks, url))

    def without_webhook(self, url: str | None) -> Wait:
        """Return the wait without a URL to which its end would be sent."""
        return msgspec.structs.replace(self, webhooks=tuple(one for one in self.webhooks if one != url))

    def elapsed(self, now: float, moment: Uptime) -> float:
        """Return the seconds since the acceptance: within one boot independent of the clock, which may be set meanwhile."""
        return _elapsed(self.accepted_at, self.accepted_uptime, now, moment)

    def changed_at(self) -> float:
        """Return when the wait was accepted, saw its last transition, or ended, whichever was last."""
        last = datetime.fromisoformat(self.transitions[-1].at).timestamp() if self.transitions else 0.0
        return max(self.ended_at or self.accepted_at, last)

    def age(self, now: float) -> float | None:
        """Return the age of the task in seconds; after its end the time it took, by the API's own timestamps."""
        task = self.task or {}
        if self.task_has_ended and task.get("created_on") and task.get("finished_on"):
            return (datetime.fromisoformat(task["finished_on"]) - datetime.fromisoformat(task["created_on"])).total_seconds()
        return None if self.task_created_at is None else round(max(0.0, (self.ended_at or now) - self.task_created_at), 1)

    def as_json(self, now: float, schedule: Schedule | None = None) -> dict[str, Any]:
        """Return the wait as clients see it; the time left needs a schedule with the history of the task type."""
        age = self.age(now)
        left = schedule.time_left(age) if schedule and age is not None and not (self.has_ended or self.task_has_ended) else None
        timing = {
            "age": age,
            "time_left": left and round(left.median, 1),
            "time_left_p90": round(left.p90, 1) if left and left.p90 is not None else None,
        }
        return {
            "id": self.id,
            "status": self.status,
            "task": self.task and {"target": None, **self.task, **timing},  # older databases have no target
            "created_resources": self.created_resources,
            "transitions": self.transitions,
            "error": self.error,
            "accepted_at": format_timestamp(self.accepted_at),
            "ended_at": self.ended_at and format_timestamp(self.ended_at),
            "timeout": self.timeout,
            "max_outage": self.max_outage,
            "ready": self.ready,
        }


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a wait, as it is sent to a webhook.

    ``id`` is the idempotency key. It is derived from the wait, its acceptance and the URL, so that it is the same when the end
    could not be stored and is found again by the next process. ``body`` is the JSON of the wait. ``url`` is None for the one of
    the command line.
    """

    id: str
    wait_id: str
    body: str
    url: str | None = None
    ended_at: float
    ended_uptime: Uptime

    def age(self, now: float, moment: Uptime) -> float:
        """Return the seconds since the end of the wait, within one boot independent of the clock."""
        return _elapsed(self.ended_at, self.ended_uptime, now, moment)


def delivery_id(wait: Wait, url: str | None) -> str:
    """Return the idempotency key of the end of a wait at a URL: another one after each acceptance."""
    key = msgspec.json.encode([wait.id, wait.accepted_at, url])
    return f"msg_{hashlib.sha256(key).hexdigest()[:32]}"


def new_delivery(wait: Wait, body: bytes, url: str | None, *, now: float, uptime: Uptime) -> Delivery:
    """Return the delivery of the end of a wait to a URL, None for that of the operator."""
    return Delivery(id=delivery_id(wait, url), wait_id=wait.id, body=body.decode(), url=url, ended_at=now, ended_uptime=uptime)


def _elapsed(since: float, since_uptime: Uptime | None, now: float, moment: Uptime) -> float:
    if since_uptime is not None and since_uptime.boot_id == moment.boot_id:
        return moment.seconds - since_uptime.seconds
    return max(0.0, now - since)


def task_summary(task: Task) -> dict[str, Any]:
    """Return the fields of a task that are stored, with long texts truncated."""
    texts = {
        name: truncate(getattr(task, name))
        for name in ("task_type", "target", "state", "detailed_state", "error", "request_id")
    }
    times = {name: _iso(getattr(task, name)) for name in ("created_on", "updated_on", "finished_on")}
    return {"id": task.id, **texts, **times, "project_id": task.project_id, "region_id": task.region_id}


def truncate(text: str | None) -> str | None:
    """Return a text of at most ``MAX_TEXT_LENGTH`` characters and an ellipsis."""
    return text if text is None or len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}..."


# A list has the times of all waits, and formatting them takes a third of its time.
@lru_cache(maxsize=5000)
def format_timestamp(moment: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
