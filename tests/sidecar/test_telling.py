"""What the waits tell: each transition once, whatever is restarted in between, and ages as of now."""

from __future__ import annotations

import pytest
from sidecar_parts import AT, NEW, TOLD, House, changed, make_task, run, shown, told

from waiter.schedule.history import History
from waiter.sidecar.model import MOST_TRANSITIONS


def test_transitions_are_told_as_they_happen(house: House) -> None:
    """Each is in the wait and in the stream; the end comes with its own words in one piece."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            made = {"instances": ["i"]}
            times = {"created_on": "2027-01-15T08:00:00", "finished_on": "2027-01-15T08:00:19"}
            changed(house, make_task(detailed_state="NETWORK"), age=3.0)
            house.now += 20
            end = make_task(state="FINISHED", created_resources=made, **times)
            changed(house, end, old="RUNNING", age=20.5)
            house.hear("task.finished", "a", end, age=20.5, error=None, created_resources=made, elapsed=20.0)
            house.puppet.finish("a", created_resources=made, **times)
            await house.settle()
            later = AT.replace("00.000", "20.000")
            iso = {name: f"{time}Z" for name, time in times.items()}
            assert shown(house) == NEW | {
                "status": "finished",
                "task": TOLD | iso | {"state": "FINISHED", "age": 19.0},
                "created_resources": made,
                "transitions": [
                    {"at": AT, "state": "RUNNING", "detailed_state": "NETWORK"},
                    {"at": later, "state": "FINISHED", "detailed_state": None},
                ],
            }
            assert house.measured == [("a", 1.5)]
            assert house.store.waits() == list(house.service.waits.values())
        a = {"task_id": "a"}
        change = {**a, "elapsed": 0.0, "at": AT, "old": None, "new": "RUNNING", "detailed_state": "NETWORK"}
        last = {"elapsed": 20.0, "at": later, "old": "RUNNING", "new": "FINISHED", "detailed_state": None}
        assert told(house)[1:] == [
            ("task.state_changed", change),
            ("task.state_changed", change | last),
            ("task.finished", {**a, "at": later, "error": None, "created_resources": made, "elapsed": 20.0}),
            ("wait.ended", {**a, "at": later, "status": "finished", "error": None}),
        ]

    run(test())


def test_the_delay_of_what_had_ended_before_is_not_known(house: House) -> None:
    """Nobody could have seen it sooner."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            end = make_task(state="ERROR", created_on="2027-01-15T08:00:00", finished_on="2027-01-15T08:00:19")
            changed(house, end, age=60.0)
            house.hear("task.failed", "a", end, age=60.0)
            house.hear("task.stalled", "a")
            assert house.measured == [("a", None)]

    run(test())


def test_a_restart_goes_on_where_it_was(house: House) -> None:
    """The first look after it is no transition unless something has changed, and then from the state last seen."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a", "b"])
            await house.settle()
            changed(house, make_task("a"))
            changed(house, make_task("b"))
        house.now += 100
        async with house.open():
            assert house.puppet.asked == ["a", "b"]
            house.puppet.timeout = 300.0
            assert house.service.seconds_left("a") == 200.0
            changed(house, make_task("a"))
            changed(house, make_task("b", detailed_state="VOLUME"))
        changes = [said for name, said in told(house) if name == "task.state_changed"]
        states = [(said["task_id"], said["old"], said["new"], said["detailed_state"], said["elapsed"]) for said in changes]
        assert states == [
            ("a", None, "RUNNING", None, 0.0),
            ("b", None, "RUNNING", None, 0.0),
            ("b", "RUNNING", "RUNNING", "VOLUME", 100.0),
        ]

    run(test())


def test_an_end_that_was_not_written_is_reached_again(house: House) -> None:
    """What is told of an end comes with it or not at all, so that it is told once."""

    async def test() -> None:
        end = make_task(state="FINISHED")
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            changed(house, end)
            house.hear("task.finished", "a", end)
        async with house.open():
            changed(house, end)
            house.hear("task.finished", "a", end)
            house.puppet.finish("a")
            await house.settle()
        async with house.open():
            assert house.puppet.asked == []
        assert house.names() == ["wait.accepted", "task.state_changed", "task.finished", "wait.ended"]

    run(test())


def test_ages_and_times_left_are_as_of_now(house: House) -> None:
    """The history that one wait has learned serves every wait of its type."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a", "b"])
            await house.settle()
            changed(house, make_task("a"), age=2.0)
            changed(house, make_task("b"), age=5.0)
            history = History(durations=[20.0] * 20)
            for _ in range(2):
                house.hear("history.learned", "a", make_task("a"), age=2.0, history=history, count=20)
            house.now += 3
            timing = {name: shown(house, "b")["task"][name] for name in ("age", "time_left", "time_left_p90")}
            assert timing == {"age": 8.0, "time_left": pytest.approx(12, abs=3), "time_left_p90": pytest.approx(18, abs=8)}

    run(test())


def test_of_an_outage_its_begin_and_its_end_are_told(house: House) -> None:
    """A failed look brings no news of the task, and a thousand waits that fail every 15 s would fill the stream."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            for attempt in (1, 2, 3):
                house.hear("poll.failed", "a", attempt=attempt, error="503", retry_in=0.5)
            house.hear("poll.recovered", "a", make_task(), outage=9.0)
        assert house.names() == ["wait.accepted", "poll.failed", "poll.recovered"]

    run(test())


def test_what_a_forgotten_wait_says_is_not_heard(house: House) -> None:
    """Its run ends a moment later."""

    async def test() -> None:
        async with house.open():
            changed(house, make_task("b"))
        assert house.names() == []

    run(test())


def test_texts_and_transitions_are_not_endless(house: House) -> None:
    """A long text is cut, and a task that flaps keeps how it began and how it goes."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            for number in range(MOST_TRANSITIONS + 50):
                changed(house, make_task(detailed_state=f"{number}", error="x" * 10_000))
            wait = house.service.waits["a"]
            kept = [int(step.detailed_state or "") for step in wait.transitions]
            assert kept == [*range(100), *range(150, 250)]
            assert wait.task is not None
            assert wait.task["error"] == "x" * 4096 + "..."

    run(test())
