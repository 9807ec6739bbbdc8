"""``waiter list --watch``."""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any

import pytest
from command_parts import BROKEN, GOOD, Run, Terminal, make_task

from waiter import Waiter
from waiter.api.requests import ACTIVE_STATES, TaskFilter
from waiter.cli import watch
from waiter.cli.progress import live
from waiter.cli.progress.model import ProgressModel
from waiter.cli.watch import KEEP_ENDED, Inbox, Lines, Listing, ListingThread, show_until_stopped, update
from waiter.console.signals import Interrupted
from waiter.errors import AuthenticationError, TaskNotFoundError
from waiter.events import Event
from waiter.schedule.history import History
from waiter.task import TaskSnapshot
from waiter.testing import SimulatedCloud, ended, fails, finishes, never_ends, status

ACTIVE = TaskFilter(ACTIVE_STATES)


def snapshot(task_id: str, state: str = "RUNNING", **fields: Any) -> TaskSnapshot:
    return TaskSnapshot(make_task(task_id, state, **fields), 12.0)


def listing(
    *listed: TaskSnapshot, left: tuple[TaskSnapshot, ...] = (), missing: tuple[str, ...] = (), gone: tuple[str, ...] = ()
) -> Listing:
    not_found = {task_id: TaskNotFoundError(f"no such task for this account (404) ({task_id})") for task_id in gone}
    return Listing(list(listed), list(left), set(missing), not_found)


def failure(text: str, status: int | None = None) -> Event:
    return Event("poll.failed", {"path": "/cloud/v1/tasks", "error": text, "status": status, "gives_up_in": None})


def test_changes_are_new_tasks_and_new_states() -> None:
    """Oldest first, whatever the order of the listing."""
    model = ProgressModel([], 0.0)
    assert [row.task_id for row in update(model, listing(snapshot("b"), snapshot("a")), 1.0)] == ["a", "b"]
    assert update(model, listing(snapshot("b"), snapshot("a")), 2.0) == []
    changed = update(model, listing(snapshot("c", "NEW"), snapshot("b", detailed_state="NETWORK"), snapshot("a")), 3.0)
    assert [(row.task_id, row.state) for row in changed] == [("b", "RUNNING/NETWORK"), ("c", "NEW")]


def test_task_that_ended_is_shown_for_a_minute() -> None:
    """One that left the listing for another reason is not; one that is still to be polled is kept."""
    model = ProgressModel([], 0.0)
    update(model, listing(*map(snapshot, "abcd")), 1.0)
    left = (snapshot("a", "FINISHED", took=9), snapshot("b", "ERROR"), snapshot("c"))
    changed = update(model, listing(left=left, missing=("d",)), 2.0)
    assert [(row.task_id, row.has_failed) for row in changed] == [("a", False), ("b", True)]
    assert set(model.rows) == {"a", "b", "d"}
    update(model, listing(), 2.0 + KEEP_ENDED)
    assert set(model.rows) == {"a", "b"}
    update(model, listing(), 2.1 + KEEP_ENDED)
    assert model.rows == {}


def test_task_that_is_gone_is_shown_for_a_minute() -> None:
    """One that is listed again is active; one that was never shown is left out."""
    model = ProgressModel([], 0.0)
    update(model, listing(snapshot("a"), snapshot("b")), 1.0)
    changed = update(model, listing(snapshot("b"), gone=("a", "c")), 2.0)
    assert [(row.task_id, row.state, row.has_failed) for row in changed] == [("a", "gone", True)]
    assert [row.task_id for row in update(model, listing(snapshot("a")), 3.0)] == ["a"]
    assert [(row.state, row.has_failed) for row in model.rows.values()] == [("RUNNING", False)]
    update(model, listing(gone=("a",)), 4.0)
    update(model, listing(), 4.0 + KEEP_ENDED)
    assert list(model.rows) == ["a"]
    update(model, listing(), 4.1 + KEEP_ENDED)
    assert model.rows == {}


def arguments(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"interval": 0.001, "no_learn": False, **given})


class Watched:
    """A listing thread on a cloud, and what it puts into its inbox."""

    def __init__(self, cloud: SimulatedCloud, chosen: TaskFilter = ACTIVE, *, max_outage: float = 300.0, **given: Any) -> None:
        self.inbox: Inbox = SimpleQueue()
        self.waiter = Waiter(**cloud.options, max_outage=max_outage, on_event=self.inbox.put)
        self.thread = ListingThread(self.waiter, chosen, arguments(**given), self.inbox)

    def next(self, kind: type) -> Any:
        while not isinstance(message := self.inbox.get(timeout=60), kind):
            assert not isinstance(message, BaseException)
        return message


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(*given: Any, **options: Any) -> Watched:
        made.append(Watched(*given, **options))
        made[-1].thread.start()
        return made[-1]

    yield make
    for one in made:
        one.thread.stop()
        one.thread.join()
        one.waiter.close()


def test_task_that_leaves_the_listing_is_polled(watched: Callable[..., Watched]) -> None:
    """Its own endpoint says how it ended."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.add(finishes(5), task_id="good")
    cloud.add(never_ends(), task_id="endless")
    seen = watched(cloud)
    assert {one.task.id for one in seen.next(Listing).listed} == {"good", "endless"}
    assert seen.next(dict)["create_vm"].usual == (15.0, 30.0)
    cloud.sleep(6)
    while not (left := seen.next(Listing).left):
        pass
    assert [(one.task.id, str(one.task.state)) for one in left] == [("good", "FINISHED")]


def test_task_that_cannot_be_polled_is_polled_again(watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is not found; of many, only a few are polled after each listing."""
    monkeypatch.setattr(watch, "MAX_POLLED", 2)
    cloud = SimulatedCloud.virtual(strict=False)
    for name in ("a", "b", "c"):
        cloud.add(finishes(5), task_id=name)
    seen = watched(cloud)
    seen.next(Listing)
    cloud.fault(status(404), task="a")
    cloud.fault(status(503), task="b", times=2)
    cloud.sleep(6)
    while not (last := seen.next(Listing)).missing:
        pass
    assert last.missing <= {"a", "b", "c"}
    ended_tasks, gone = {one.task.id for one in last.left}, set(last.gone)
    while last.missing:
        last = seen.next(Listing)
        ended_tasks |= {one.task.id for one in last.left}
        gone |= set(last.gone)
    assert (len(ended_tasks), "b" in ended_tasks) == (2, True)
    assert gone == {"a", "b", "c"} - ended_tasks


def test_history_of_each_type_is_requested_once(watched: Callable[..., Watched]) -> None:
    """When its first task is listed; --no-learn requests none."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.add(never_ends(task_type="create_bm"), task_id="a")
    cloud.add_past("create_bm", [9.0, 9.0])
    seen = watched(cloud)
    assert seen.next(dict)["create_bm"].count == 2
    cloud.add(never_ends(task_type="create_bm"), task_id="b")
    cloud.add(never_ends(task_type="delete_vm"), task_id="c")
    assert list(seen.next(dict)) == ["delete_vm"]
    assert sum("task_type=create_bm" in request.path for request in cloud.requests) == 1
    other = watched(cloud, no_learn=True)
    assert other.next(dict)["create_bm"].count == 0


def test_only_the_newest_ended_tasks_are_listed(watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number grows; all active ones are listed."""
    monkeypatch.setattr(watch, "MAX_PAGE", 2)
    cloud = SimulatedCloud.virtual(strict=False)
    for _ in range(3):
        cloud.add(ended(None))
        cloud.add(never_ends())
    assert len(watched(cloud, TaskFilter()).next(Listing).listed) == 2
    assert len(watched(cloud).next(Listing).listed) == 3


def test_outage_is_reported_until_it_lasts_too_long(watched: Callable[..., Watched]) -> None:
    """Then the listing ends with an error, as with every error that no repetition can mend."""
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(status(503), times=9)
    seen = watched(cloud, max_outage=0.5)
    assert seen.next(Event).fields["status"] == 503
    while isinstance(last := seen.inbox.get(timeout=60), Event):
        pass
    assert re.match(r"no usable answer for \d+ s: the API returned 503", str(last))
    cloud = SimulatedCloud.virtual(strict=False)
    cloud.fault(status(401))
    assert isinstance(watched(cloud).inbox.get(timeout=60), AuthenticationError)


def shown(model: ProgressModel, form: str, *messages: Any) -> None:
    """Show these messages, and end with an exception."""
    inbox: Inbox = SimpleQueue()
    for message in (*messages, ZeroDivisionError()):
        inbox.put(message)
    with pytest.raises(ZeroDivisionError):
        show_until_stopped(inbox, model, None, Lines(model, form))


MESSAGES = (
    listing(snapshot(GOOD, data={"name": "web-1"}), snapshot(BROKEN)),
    {"create_vm": History(usual=(15.0, 30.0))},
    failure("the API returned 503", 503),
    failure("the API returned 503", 503),
    Event("poll.recovered", {"path": "/cloud/v1/tasks", "outage": 1.0}),
    listing(snapshot(GOOD), left=(snapshot(BROKEN, "ERROR", error="No\x1b host", took=9),)),
    listing(gone=(GOOD,)),
)


def test_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, with the reason of a failure; an outage is two lines on standard error."""
    shown(ProgressModel([], 0.0), "text", *MESSAGES)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"create_vm {BROKEN} is RUNNING (12s old)",
        f"create_vm web-1 {GOOD} is RUNNING (12s old)",
        rf"create_vm {BROKEN} is ERROR (took 9s): No\x1b host",
        f"create_vm {GOOD} is gone (12s old): no such task for this account (404)",
    ]
    assert err == "waiter: the API returned 503, retrying\nwaiter: the API answers again\n"


def test_each_change_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    """As in the list of tasks without --watch."""
    shown(ProgressModel([], 0.0), "json", *MESSAGES)
    tasks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(task["id"], task["status"], task["age"]) for task in tasks] == [
        (BROKEN, "waiting", 12.0),
        (GOOD, "waiting", 12.0),
        (BROKEN, "failed", 12.0),
        (GOOD, "not_found", 12.0),
    ]


def test_each_new_task_is_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    """A change of state is none."""
    shown(ProgressModel([], 0.0), "ids", *MESSAGES)
    assert capsys.readouterr().out == f"{BROKEN}\n{GOOD}\n"


@pytest.fixture
def account() -> Iterator[tuple[SimulatedCloud, dict[str, str]]]:
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        yield cloud, {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key, "WAITER_INTERVAL": "0.05"}


def test_live_table_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    """Redrawn in place; Ctrl-C leaves it on the screen and exits with 130."""
    passed = [0.0]  # seconds of the simulation, which go on when the screen shows what it should
    cloud = SimulatedCloud(strict=False, clock=lambda: sum(passed))
    with cloud.serve() as url:
        env = {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key, "WAITER_INTERVAL": "0.05"}
        at = terminal("list", "--watch", env=env, columns=160)  # room for a bar, which comes with the age
        assert at.until("no task")[0][2:] == "no task (NEW or RUNNING)"
        cloud.add(fails(1, fields={"data": {"name": "web-1"}}), task_id=BROKEN)
        at.until("web-1")
        cloud.add(never_ends(fields={"data": {"name": "web-2"}}), task_id=GOOD)
        passed.append(1.5)
        at.until_screen(lambda lines: "✗ ERROR" in "".join(lines) and "web-2" in "".join(lines))
        cloud.outage(0, 1, status(503, retry_after=0.1))
        assert at.until("503")[-1].startswith("the API returned 503: ServiceUnavailable")
        passed.append(1.5)
        at.until_screen(lambda lines: "503" not in "".join(lines))
        at.type(b"\x03")
        code, screen = at.finish()
    assert code == 130
    assert [" ".join(line.split()[:2] + line.split()[3:6]) for line in screen] == [
        f"· RUNNING create_vm web-2 {GOOD}",
        f"✗ ERROR create_vm web-1 {BROKEN}",
    ]


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}])
def test_lines_on_a_terminal_that_cannot_redraw(
    account: tuple[SimulatedCloud, dict[str, str]], terminal: Callable[..., Terminal], env: dict[str, str]
) -> None:
    """Text, because a person reads it."""
    cloud, connection = account
    cloud.add(never_ends(), task_id="a")
    at = terminal("list", "--watch", env=connection | env)
    assert at.until("a is RUNNING")[0].startswith("create_vm a is RUNNING (")
    at.type(b"\x03")
    assert at.finish()[0] == 130


def test_watch_without_a_reader_ends(
    account: tuple[SimulatedCloud, dict[str, str]], start: Callable[..., subprocess.Popen[str]]
) -> None:
    """As ``| head -1`` does; it is no error."""
    cloud, env = account
    cloud.add(never_ends(), task_id="a")
    with start("list", "--watch", "-o", "ids", env=env) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "a\n"
        child.stdout.close()
        cloud.add(never_ends(), task_id="b")
        assert (child.wait(60), child.stderr.read()) == (0, "")


def test_signal_ends_the_watch_without_a_message(
    account: tuple[SimulatedCloud, dict[str, str]], start: Callable[..., subprocess.Popen[str]]
) -> None:
    """It is the usual end of a watch."""
    cloud, env = account
    cloud.add(never_ends(), task_id="a")
    with start("list", "--watch", env=env) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert json.loads(child.stdout.readline())["id"] == "a"
        child.send_signal(signal.SIGTERM)
        assert (child.wait(60), child.stdout.read(), child.stderr.read()) == (143, "", "")


def test_errors_have_the_usual_exit_codes(account: tuple[SimulatedCloud, dict[str, str]], run: Run) -> None:
    """A query of lines is refused; an error of the API ends the watch."""
    _, env = account
    refused = run("list", "--watch", "--query", "tasks[0]", env=env)
    assert refused == (2, "", "waiter: --query does not go with --watch: -o json gives one object a line\n")
    ran = run("list", "--watch", env=env | {"GCORE_API_KEY": "wrong"})
    assert (ran.code, ran.out) == (3, "")


def test_interruption_and_missing_reader_end_the_watch(
    account: tuple[SimulatedCloud, dict[str, str]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal is the exit code, a reader that has exited is a success; neither is a message."""
    cloud, env = account
    cloud.add(never_ends(), task_id="a")
    monkeypatch.setattr(watch, "write_result", lambda _: False)
    assert run("list", "--watch", env=env) == (0, "", "")

    def interrupt(_: str) -> bool:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(watch, "write_result", interrupt)
    assert run("list", "--watch", env=env) == (130, "", "")


def test_live_table_is_for_text_on_a_terminal(
    account: tuple[SimulatedCloud, dict[str, str]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its final state stays on the screen."""
    closed: list[bool] = []

    class Table:
        def __init__(self, model: ProgressModel, environ: Mapping[str, str]) -> None:
            assert (model.empty_text, environ["WAITER_INTERVAL"]) == ("no task (NEW or RUNNING)", "0.05")

        def refresh(self) -> float:
            raise Interrupted(signal.SIGINT)

        def close(self, *, keep: bool) -> None:
            closed.append(keep)

    monkeypatch.setattr(live, "LiveProgress", Table)
    monkeypatch.setattr(watch, "is_terminal", lambda _: True)
    monkeypatch.setattr(watch, "is_interactive", lambda _: True)
    assert run("list", "--watch", env=account[1]).code == 130
    assert closed == [True]


def test_main_thread_draws_while_it_waits() -> None:
    """The table is refreshed between two listings."""
    inbox: Inbox = SimpleQueue()
    frames: list[float] = []

    class Live:
        def refresh(self) -> float:
            frames.append(time.monotonic())
            if len(frames) == 3:
                inbox.put(failure("x"))
                inbox.put(listing())
                inbox.put(ZeroDivisionError())
            return 0.001

    model = ProgressModel([], 0.0)
    with pytest.raises(ZeroDivisionError):
        show_until_stopped(inbox, model, Live(), Lines(model, "text"))  # type: ignore[arg-type]
    assert len(frames) == 5
