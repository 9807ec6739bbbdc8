"""Events of the waits: each transition is reported once, also over a restart, and ages are current."""

from __future__ import annotations

import pytest
from sidecar_parts import AT, NEW_WAIT, TASK_JSON, Report, Sidecar, change_state, make_task, run, stream_events, wait_json

from waiter import ResourceError, TaskError
from waiter.schedule.history import History
from waiter.sidecar.model import MAX_TRANSITIONS, RequestLimits


def test_transitions_are_reported_once(sidecar: Sidecar) -> None:
    """Each is in the wait and in the stream; the events of the end are written together."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            made = {"instances": ["i"]}
            times = {"created_on": "2027-01-15T08:00:00", "finished_on": "2027-01-15T08:00:19"}
            change_state(sidecar, make_task(detailed_state="NETWORK"), age=3.0)
            sidecar.now += 20
            end = make_task(state="FINISHED", created_resources=made, **times)
            change_state(sidecar, end, old="RUNNING", age=20.5)
            sidecar.send_event("task.finished", "a", end, age=20.5, error=None, created_resources=made, elapsed=20.0)
            sidecar.waiter.finish("a", created_resources=made, **times)
            await sidecar.settle()
            later = AT.replace("00.000", "20.000")
            iso = {name: f"{time}Z" for name, time in times.items()}
            assert wait_json(sidecar) == NEW_WAIT | {
                "status": "finished",
                "task": TASK_JSON | iso | {"state": "FINISHED", "age": 19.0},
                "created_resources": made,
                "transitions": [
                    {"at": AT, "state": "RUNNING", "detailed_state": "NETWORK"},
                    {"at": later, "state": "FINISHED", "detailed_state": None},
                ],
                "ended_at": later,
            }
            assert sidecar.measured == [("a", 1.5)]
            assert sidecar.store.waits() == list(sidecar.service.waits.values())
        a = {"task_id": "a"}
        change = {**a, "elapsed": 0.0, "at": AT, "old": None, "new": "RUNNING", "detailed_state": "NETWORK"}
        last = {"elapsed": 20.0, "at": later, "old": "RUNNING", "new": "FINISHED", "detailed_state": None}
        assert stream_events(sidecar)[1:] == [
            ("task.state_changed", change),
            ("task.state_changed", change | last),
            ("task.finished", {**a, "at": later, "error": None, "created_resources": made, "elapsed": 20.0}),
            ("wait.ended", {**a, "at": later, "status": "finished", "error": None}),
        ]

    run(test())


def test_detection_delay_is_unknown_for_a_task_that_had_ended(sidecar: Sidecar) -> None:
    """The task had ended before the first poll."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            end = make_task(state="ERROR", created_on="2027-01-15T08:00:00", finished_on="2027-01-15T08:00:19")
            change_state(sidecar, end, age=60.0)
            sidecar.send_event("task.failed", "a", end, age=60.0)
            sidecar.send_event("task.stalled", "a")
            assert sidecar.measured == [("a", None)]

    run(test())


def test_restart_reports_only_new_transitions(sidecar: Sidecar) -> None:
    """The first poll after it is a transition from the last stored state, if that has changed."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a", "b"])
            await sidecar.settle()
            change_state(sidecar, make_task("a"))
            change_state(sidecar, make_task("b"))
        sidecar.now += 100
        sidecar.timeout = 300.0
        async with sidecar.open():
            assert sidecar.waiter.waited_for == ["a", "b"]
            assert sidecar.service.time_left("a") == 200.0
            change_state(sidecar, make_task("a"))
            change_state(sidecar, make_task("b", detailed_state="VOLUME"))
        changes = [data for name, data in stream_events(sidecar) if name == "task.state_changed"]
        states = [(data["task_id"], data["old"], data["new"], data["detailed_state"], data["elapsed"]) for data in changes]
        assert states == [
            ("a", None, "RUNNING", None, 0.0),
            ("b", None, "RUNNING", None, 0.0),
            ("b", "RUNNING", "RUNNING", "VOLUME", 100.0),
        ]

    run(test())


@pytest.mark.parametrize(("boot_id", "left"), [("same boot", 200.0), ("another boot", 0.0)])
def test_step_of_the_clock_does_not_time_out_a_wait(sidecar: Sidecar, boot_id: str, left: float, report: Report) -> None:
    """Within one boot of the machine the clock is not used; after another boot there is nothing else."""

    async def test() -> None:
        sidecar.timeout, sidecar.boot_id = 300.0, "same boot"
        async with sidecar.open():
            await sidecar.service.accept(["a"])
        sidecar.now += 100 + 7200
        sidecar.clock_step, sidecar.boot_id = 7200, boot_id
        async with sidecar.open():
            assert sidecar.service.time_left("a") == left
            report(f"the clock stepped by 2 h over a restart, {boot_id} of the machine: {left:g} s of 300 s are left")

    run(test())


def test_unwritten_end_is_reported_after_a_restart(sidecar: Sidecar) -> None:
    """The events of an end are written with it or not at all, so they are reported once."""

    async def test() -> None:
        end = make_task(state="FINISHED")
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            change_state(sidecar, end)
            sidecar.send_event("task.finished", "a", end)
        async with sidecar.open():
            change_state(sidecar, end)
            sidecar.send_event("task.finished", "a", end)
            sidecar.waiter.finish("a")
            await sidecar.settle()
        async with sidecar.open():
            assert sidecar.waiter.waited_for == []
        assert sidecar.names() == ["wait.accepted", "task.state_changed", "task.finished", "wait.ended"]

    run(test())


def test_age_and_time_left_are_current(sidecar: Sidecar) -> None:
    """The history that one wait has read is used for every wait of its type."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a", "b"])
            await sidecar.settle()
            change_state(sidecar, make_task("a"), age=2.0)
            change_state(sidecar, make_task("b"), age=5.0)
            history = History(durations=[20.0] * 20)
            for _ in range(2):
                sidecar.send_event("history.learned", "a", make_task("a"), age=2.0, history=history, count=20)
            # Another wait ends that has not polled since then.
            sidecar.send_event("task.failed", "a", make_task("a"), age=2.0, history=History(usual=(15.0, 30.0)))
            sidecar.now += 3
            timing = {name: wait_json(sidecar, "b")["task"][name] for name in ("age", "time_left", "time_left_p90")}
            assert timing == {"age": 8.0, "time_left": pytest.approx(12, abs=3), "time_left_p90": pytest.approx(18, abs=8)}

    run(test())


def test_outage_is_reported_by_its_begin_and_end(sidecar: Sidecar) -> None:
    """A thousand waits that fail every 15 s would otherwise fill the stream."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            for attempt in (1, 2, 3):
                sidecar.send_event("poll.failed", "a", attempt=attempt, error="503", retry_in=0.5)
            sidecar.send_event("poll.recovered", "a", make_task(), outage=9.0)
        assert sidecar.names() == ["wait.accepted", "poll.failed", "poll.recovered"]

    run(test())


def test_event_of_a_deleted_wait_is_ignored(sidecar: Sidecar) -> None:
    """Its coroutine ends a moment later."""

    async def test() -> None:
        async with sidecar.open():
            change_state(sidecar, make_task("b"))
        assert sidecar.names() == []

    run(test())


def test_texts_and_transitions_are_limited(sidecar: Sidecar) -> None:
    """A long text is truncated; the first and the latest transitions are kept."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a"])
            await sidecar.settle()
            for number in range(MAX_TRANSITIONS + 50):
                change_state(sidecar, make_task(detailed_state=f"{number}", error="x" * 10_000))
            wait = sidecar.service.waits["a"]
            kept = [int(step.detailed_state or "") for step in wait.transitions]
            assert kept == [*range(100), *range(150, 250)]
            assert wait.task is not None
            assert wait.task["error"] == "x" * 4096 + "..."

    run(test())


def test_end_of_a_wait_for_resources_is_written_with_it(sidecar: Sidecar) -> None:
    """The end of the task is stored and measured when it is seen; its events are written together with the end of the wait."""

    async def test() -> None:
        times = {"created_on": "2027-01-15T08:00:00", "finished_on": "2027-01-15T08:00:19"}
        end = make_task(state="FINISHED", created_resources={"images": ["m"]}, **times)
        image = {"kind": "images", "resource_id": "m"}
        async with sidecar.open():
            await sidecar.service.accept(["a"], RequestLimits(ready=True))
            await sidecar.settle()
            change_state(sidecar, make_task(), age=3.0, history=History([30.0] * 5))
            change_state(sidecar, end, old="RUNNING", age=20.5)
            sidecar.send_event("task.finished", "a", end, age=20.5)
            sidecar.send_event("resource.state_changed", "a", end, **image, old=None, new="saving")
            await sidecar.settle()
            shown = wait_json(sidecar)
            assert (shown["status"], shown["ready"], shown["task"]["state"]) == ("waiting", True, "FINISHED")
            assert (shown["task"]["age"], shown["task"]["time_left"]) == (19.0, None)
            assert stream_events(sidecar)[-1][0] == "resource.state_changed"
            assert stream_events(sidecar)[-1][1]["old"] is None
        async with sidecar.open():
            assert sidecar.waiter.limits["a"]["ready"] is True
            change_state(sidecar, end, age=500.0)
            sidecar.send_event("task.finished", "a", end, age=500.0)
            sidecar.send_event("resource.failed", "a", end, **image, status="killed")
            sidecar.send_event("task.timed_out", "a", end)
            error = ResourceError("killed", task=end, kind="images", resource_id="m", resource={})
            sidecar.waiter.fail("a", error)
            await sidecar.settle()
            assert (wait_json(sidecar)["status"], wait_json(sidecar)["error"]) == ("failed", str(error))
        assert sidecar.measured == [("a", 1.5), ("a", None)]
        names = [name for name, _ in stream_events(sidecar)]
        assert names[-5:] == ["resource.state_changed", "task.finished", "resource.failed", "task.timed_out", "wait.ended"]

    run(test())


@pytest.mark.parametrize(("before", "again"), [(None, True), (False, True), (True, False)])
def test_finished_task_is_awaited_again_if_its_resources_are_wanted_ready(
    sidecar: Sidecar, before: bool | None, again: bool
) -> None:
    """Not if they were already, nor while the wait is running; a failure stays what it is."""

    async def test() -> None:
        async with sidecar.open():
            await sidecar.service.accept(["a", "b", "c"], RequestLimits(ready=before))
            await sidecar.settle()
            sidecar.waiter.finish("a")
            sidecar.waiter.fail("b", TaskError(make_task("b", "ERROR")))
            await sidecar.settle()
            await sidecar.service.accept(["a", "b", "c"])
            assert wait_json(sidecar)["status"] == "finished"
            await sidecar.service.accept(["a", "b", "c"], RequestLimits(ready=True))
            await sidecar.settle()
            assert sidecar.waiter.waited_for == ["a", "b", "c", *(["a"] if again else [])]
            assert wait_json(sidecar)["ready"] is True

    run(test())
