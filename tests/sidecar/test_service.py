"""The waits: accepted once, ended once, forgotten, and bounded in number."""

from __future__ import annotations

import pytest
from sidecar_parts import AT, NEW, NOW, House, make_task, run, shown, told

from waiter import errors
from waiter.sidecar.journal import StorageError
from waiter.sidecar.model import Status, Wait
from waiter.sidecar.service import InUseError, TooManyError


def test_an_accepted_wait_is_on_disk_and_goes_on(house: House) -> None:
    """It is shown as the contract says, and told as one event."""

    async def test() -> None:
        async with house.open():
            waits = await house.service.accept(["a", "b", "a"])
            assert [wait.id for wait in waits] == ["a", "b"]
            assert shown(house) == NEW
            assert house.store.waits() == waits
            await house.settle()
            assert house.puppet.asked == ["a", "b"]
        said = {"at": AT}
        assert told(house) == [("wait.accepted", {"task_id": one, **said}) for one in "ab"]

    run(test())


def test_a_wait_that_goes_on_is_accepted_once(house: House) -> None:
    """Whoever asks again gets the same wait, and so does who asks after the task has ended."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.service.accept(["a"])
            await house.settle()
            house.puppet.finish("a")
            await house.settle()
            (wait,) = await house.service.accept(["a"])
            assert wait.status == "finished"
            assert house.puppet.asked == ["a"]
        assert house.names() == ["wait.accepted", "wait.ended"]

    run(test())


def test_nothing_is_asked_of_the_disk_for_nothing(house: House) -> None:
    """An answer without tasks is a no-op."""

    async def test() -> None:
        async with house.open():
            assert await house.service.accept([]) == []

    run(test())


ENDINGS = [
    (errors.TaskError(make_task(state="ERROR")), "failed"),
    (errors.TaskTimeoutError("a", waited=9, last_task=None, last_error=None), "timed_out"),
    (errors.TaskStalledError(make_task(), waited=9), "stalled"),
    (errors.TaskNotFoundError("gone"), "not_found"),
    (errors.AuthenticationError("no"), "refused"),
    (errors.PermissionDeniedError("no"), "refused"),
    (errors.ApiUnavailableError("away"), "unavailable"),
    (errors.InvalidResponseError("garbled"), "unavailable"),
]


@pytest.mark.parametrize(("error", "status"), ENDINGS, ids=[type(error).__name__ for error, _ in ENDINGS])
def test_each_error_is_one_status(house: House, error: Exception, status: str) -> None:
    """The wait keeps the error's own words, and its end is one event."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            house.puppet.fail("a", error)
            await house.settle()
            assert shown(house) == NEW | {"status": status, "error": str(error)}
        end = {"task_id": "a", "at": AT, "status": status, "error": str(error)}
        assert told(house)[1:] == [("wait.ended", end)]

    run(test())


def test_a_fault_in_waiter_ends_one_wait_only(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and not taken for the task's own."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            house.puppet.fail("a", ZeroDivisionError("oh"))
            await house.settle()
            assert shown(house) == NEW | {
                "status": "unavailable",
                "error": "a fault in waiter: ZeroDivisionError('oh')",
            }

    run(test())
    assert capsys.readouterr().err == "waiter: a fault in waiter ended the wait for task a: ZeroDivisionError('oh')\n"


@pytest.mark.parametrize("status", ["timed_out", "stalled", "not_found", "refused", "unavailable"])
def test_a_wait_that_ended_before_its_task_is_taken_up_again(house: House, status: str) -> None:
    """Asking for the same ID once more is all that it takes."""

    async def test() -> None:
        async with house.open():
            house.service.waits["a"] = Wait(id="a", accepted_at=1.0, status=Status(status), error="x", ended_at=2.0)
            await house.service.accept(["a"])
            assert (shown(house), house.service.waits["a"].accepted_at) == (NEW, NOW)

    run(test())


def test_a_deleted_wait_is_gone(house: House) -> None:
    """It ends, is forgotten on disk, and can be accepted anew."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            await house.service.delete("a")
            assert (house.service.waits, house.store.waits()) == ({}, [])
            with pytest.raises(KeyError):
                await house.service.delete("a")
            await house.service.accept(["a"])
            assert house.names() == ["wait.accepted", "wait.deleted", "wait.accepted"]

    run(test())


def test_a_wait_of_the_command_line_stays(house: House) -> None:
    """Readiness hangs on it."""

    async def test() -> None:
        async with house.open(given=["a"]):
            assert house.puppet.asked == ["a"]
            with pytest.raises(InUseError, match="given on the command line: a"):
                await house.service.delete("a")
            assert house.service.is_ready is False
            house.puppet.finish("a")
            await house.settle()
            assert house.service.is_ready is True

    run(test())


@pytest.mark.parametrize("ended", [False, True])
def test_a_wait_that_cannot_be_deleted_goes_on(house: House, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """The disk did not take it: nothing has changed."""

    async def test() -> None:
        async with house.open():
            await house.service.accept(["a"])
            await house.settle()
            if ended:
                house.puppet.finish("a")
                await house.settle()

            async def refuse(*_: object) -> None:
                raise StorageError

            monkeypatch.setattr(house.journal, "write", refuse)
            with pytest.raises(StorageError):
                await house.service.delete("a")
            await house.settle()
            assert house.puppet.asked == (["a"] if ended else ["a", "a"])
            assert list(house.service.waits) == ["a"]

    run(test())


def test_there_is_room_for_so_many(house: House) -> None:
    """Ended waits make room after an hour, the oldest first; others never do."""

    async def test() -> None:
        async with house.open(given=["g"], most_waits=3):
            await house.service.accept(["a"])
            await house.service.accept(["b"])
            await house.settle()
            for wait_id in ("g", "b", "a"):
                house.puppet.finish(wait_id)
                house.now += 1
                await house.settle()
            house.now += 3590
            with pytest.raises(TooManyError) as caught:
                await house.service.accept(["c"])
            assert str(caught.value) == "no room for 1 more: 3 waits are kept at most; delete some that have ended"
            house.now += 20
            await house.service.accept(["c"])
            assert list(house.service.waits) == ["g", "a", "c"]
            assert house.names()[-2:] == ["wait.accepted", "wait.deleted"]
            with pytest.raises(TooManyError):
                await house.service.accept(["d", "e"])

    run(test())
