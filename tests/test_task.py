"""Decoding is strict about the fields that decide a wait and lenient about the others."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waiter import CreatedResources, Task, TaskState
from waiter.task import TaskSnapshot, decode_task, is_older

DESCRIPTION: Any = json.loads((Path(__file__).parent / "api" / "tasks.openapi.json").read_text())["components"]["schemas"]
LEAST = {"id": "t-1", "state": "RUNNING", "task_type": "create_vm", "user_id": 1, "created_on": None}


def decode(**payload: object) -> Task:
    return decode_task(json.dumps(LEAST | payload).encode())


def test_every_field_of_the_description_has_its_attribute() -> None:
    """Task has each field of the description and no other."""
    assert {*Task.__struct_fields__} - {"unknown_fields"} == DESCRIPTION["TaskSerializer"]["properties"].keys()


def test_every_kind_of_the_description_has_its_attribute() -> None:
    """CreatedResources has each kind, including the deprecated one."""
    kinds = DESCRIPTION["CreatedResources"]["properties"].keys()
    assert len(kinds) == 36
    assert {*CreatedResources.__struct_fields__} - {"unknown_kinds"} | {"ai_clusters"} == kinds
    assert all(getattr(CreatedResources(), kind) == CreatedResources()[kind] == () for kind in kinds)


def test_every_state_of_the_description_is_known() -> None:
    """TaskState has the states that the description has."""
    assert [state.value for state in TaskState] == ["NEW", "RUNNING", "FINISHED", "ERROR"]
    assert sorted(TaskState) == DESCRIPTION["TaskState"]["enum"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-07-01T13:37:14", datetime(2026, 7, 1, 13, 37, 14, tzinfo=UTC)),
        ("2026-07-01T13:37:14Z", datetime(2026, 7, 1, 13, 37, 14, tzinfo=UTC)),
        ("2026-07-01T13:37:14.25", datetime(2026, 7, 1, 13, 37, 14, 250_000, tzinfo=UTC)),
        ("2026-07-01T15:37:14+02:00", datetime(2026, 7, 1, 13, 37, 14, tzinfo=UTC)),
    ],
)
def test_times_are_utc_in_every_notation(text: str, time: datetime) -> None:
    """A time without a zone is UTC; a given zone is kept."""
    task = decode(created_on=text, updated_on=text, finished_on=text, acknowledged_at=text)
    assert [task.created_on, task.updated_on, task.finished_on, task.acknowledged_at] == [time] * 4


def test_zone_of_a_time_is_kept() -> None:
    """An offset is part of the value."""
    task = decode(created_on="2026-07-01T15:37:14+02:00")
    assert task.created_on is not None
    assert task.created_on.tzinfo == timezone(timedelta(hours=2))


def test_unknown_fields_kinds_and_states_are_kept() -> None:
    """They are kept as they were received."""
    task = decode(state="PAUSED", mood="good", created_resources={"moons": ["m-1"], "empty": [], "instances": ["i-1"]})
    assert (task.state, task.state.is_known, task.ended) == ("PAUSED", False, False)
    assert task.unknown_fields == {"mood": "good"}
    made = task.created_resources
    assert (made.moons, made["moons"], made.instances) == (("m-1",), ("m-1",), ("i-1",))
    assert made.as_dict() == {"instances": ["i-1"], "moons": ["m-1"]}


def test_misspelt_kind_is_an_error() -> None:
    """A kind that is neither described nor present is not an empty tuple."""
    with pytest.raises(AttributeError, match="no attribute 'instnaces'"):
        CreatedResources().instnaces  # noqa: B018 - reading it is the test
    with pytest.raises(KeyError, match="instnaces"):
        CreatedResources()["instnaces"]


def test_fields_of_the_wrong_type_are_kept_aside() -> None:
    """Values that contradict the description are in unknown_fields; the rest is read."""
    task = decode(acknowledged_by="me", created_on="yesterday", error=None, project_id=7)
    assert (task.acknowledged_by, task.created_on, task.project_id) == (None, None, 7)
    assert task.unknown_fields == {"acknowledged_by": "me", "created_on": "yesterday"}


@pytest.mark.parametrize(
    ("payload", "kinds"),
    [
        (None, {}),
        ({}, {}),
        ("none", {}),
        ({"instances": None, "volumes": []}, {}),
        ({"instances": "i-1"}, {"instances": ["i-1"]}),
        ({"instances": ["i-1", None, True, {}, "i-1"]}, {"instances": ["i-1"]}),
        ({"projects": [1, 2], "ddos_profiles": 3}, {"ddos_profiles": [3], "projects": [1, 2]}),
        ({"slurm_clusters": [{"id": "sc-1"}]}, {"slurm_clusters": ["sc-1"]}),
        ({"moons": [{"name": "m"}, {"id": None}]}, {"moons": ['{"name": "m"}', '{"id": null}']}),
        ({"moons": [1.0, 1.5, {"id": 2.0}]}, {"moons": [1, "1.5", 2]}),
        ({"projects": [1.0]}, {"projects": [1]}),
        ({"ai_clusters": ["c-1"]}, {"clusters": ["c-1"]}),
        ({"ai_clusters": ["c-1"], "clusters": ["c-1", "c-2"]}, {"clusters": ["c-1", "c-2"]}),
    ],
)
def test_created_resources_never_raise(payload: object, kinds: dict[str, list[object]]) -> None:
    """Null, missing, deprecated and malformed kinds are read too."""
    made = decode(created_resources=payload).created_resources
    assert made.as_dict() == kinds
    assert bool(made) == bool(kinds)


def test_clusters_have_two_names() -> None:
    """The deprecated name reads the same IDs, by attribute and by name."""
    made = CreatedResources(clusters=("c-1",))
    assert made.ai_clusters == made["ai_clusters"] == made["clusters"] == made.clusters


def test_repr_shows_only_kinds_with_ids() -> None:
    """Empty kinds are left out."""
    assert repr(CreatedResources(instances=("i-1",), unknown_kinds={"moons": (1,), "suns": ()})) == (
        "CreatedResources(instances=('i-1',), moons=(1,))"
    )


def test_resources_of_several_tasks_merge_in_order() -> None:
    """Each ID is kept once, including those of unknown kinds."""
    many = [
        CreatedResources(instances=("i-1",), ports=("p-1",)),
        CreatedResources(instances=("i-2", "i-1"), unknown_kinds={"moons": ("m",)}),
    ]
    assert CreatedResources.merge(many).as_dict() == {"instances": ["i-1", "i-2"], "ports": ["p-1"], "moons": ["m"]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"<html>", "malformed"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `id`"),
        (b'{"id": 7, "state": "NEW"}', r"Expected `str`, got `int` - at `\$.id`"),
        (b'{"id": "t-1"}', "missing required field `state`"),
        (b'{"id": "t-1", "state": null}', r"got `null` - at `\$.state`"),
        (b'{"id": "t-1", "state": ""}', "Invalid enum value ''"),
    ],
)
def test_bad_id_or_state_is_an_error(body: bytes, why: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(ValueError, match=why):
        decode_task(body)


FINISHED = '{"id": "t-1", "state": "FINISHED", "created_resources": {"instances": ["i-1"]}, "data": %s}'


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (FINISHED % "NaN", "NaN"),
        (FINISHED % "[-Infinity, 1e999, 1.5]", ["-Infinity", "1e999", 1.5]),
        (FINISHED % ("NaN, " + '"big": ' + "9" * 5000), "NaN"),
        (FINISHED % r'{"a": "\ud800"}', {"a": "\ufffd"}),
        ("\ufeff" + FINISHED % "1", 1),
        ((FINISHED % '"é"').encode("utf-16"), "é"),
        ((FINISHED % '"é"').encode("utf-16-le"), "é"),
        ((FINISHED % '"é"').encode("utf-32"), "é"),
        ((FINISHED % '"é"').encode("latin-1"), "\ufffd"),
    ],
    ids=["NaN", "infinities", "long integer", "surrogate", "mark", "UTF-16", "UTF-16 without a mark", "UTF-32", "Latin-1"],
)
def test_end_is_seen_in_json_that_is_not_strict(body: str | bytes, data: object) -> None:
    """A field that does not decide a wait cannot hide the end of a task; numbers that are none are kept as text."""
    task = decode_task(body if isinstance(body, bytes) else body.encode())
    assert (task.ended, task.created_resources.instances, task.data) == (True, ("i-1",), data)
    json.dumps(task.data, allow_nan=False).encode()


def test_large_task_is_decoded_in_little_memory() -> None:
    """The fields that decide a wait, and what the task created, are read; a large field is left out."""
    many = ",".join(["[]"] * 5_000_000)
    body = (FINISHED % f"[{many}]").encode()
    tracemalloc.start()
    try:
        task = decode_task(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (task.ended, task.created_resources.instances, task.data) == (True, ("i-1",), None)
    assert peak < 32 * 2**20


@given(st.binary(max_size=80) | st.builds(lambda junk: (FINISHED % "X").encode().replace(b"X", junk), st.binary(max_size=20)))
def test_any_bytes_are_a_task_or_a_value_error(body: bytes) -> None:
    """Nothing else is raised."""
    with suppress(ValueError, RecursionError):
        assert decode_task(body).id


def test_values_can_be_compared_hashed_and_pickled() -> None:
    """Tasks can be members of sets and pass between processes."""
    task = decode(created_resources={"instances": ["i-1"]}, data={"a": [1]})
    assert pickle.loads(pickle.dumps(task)) == task
    assert len({task, decode(created_resources={"instances": ["i-1"]}, data={"a": [1]})}) == 1
    assert len({CreatedResources(), CreatedResources(images=("m",))}) == 2


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=9)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=9), SCALARS, max_size=3)
NAMES = st.sampled_from([*Task.__struct_fields__, "other"])


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_values_in_other_fields_are_read(payload: dict[str, object]) -> None:
    """Any value beside ID and state is read, and none is lost."""
    task = Task.from_mapping({**payload, "id": "t-1", "state": "FINISHED"})
    assert task.ended
    lost = [name for name, value in payload.items() if value is not None and _read(task, name) in (None, ())]
    assert [name for name in lost if name not in {"created_resources", "id", "state"}] == []


def _read(task: Task, name: str) -> object:
    return task.unknown_fields[name] if name in task.unknown_fields else getattr(task, name)


@pytest.mark.parametrize("state", ["NEW", "RUNNING", "FINISHED", "ERROR", "PAUSED"])
def test_task_has_ended_when_its_state_is_final(state: str) -> None:
    """An unknown state is not final."""
    task = Task(id="t", state=TaskState(state))
    assert task.ended == task.state.is_final == (state in {"FINISHED", "ERROR"})


@pytest.mark.parametrize(
    ("data", "target"),
    [
        ({"name": "web-1", "flavor_name": "g1", "image_id": "i"}, "web-1"),
        ({"names": ["web-1", None, "web-2"], "name": "x"}, "web-1, web-2"),
        ({"volume_id": "v-1", "instance_id": "i-1"}, "volume v-1, instance i-1"),
        ({"project_id": 1, "region_id": 2, "file_share_id": 7}, "file share 7"),
        ({"name": " ", "router_id": None, "task_id": "t"}, None),
        ({"name": "a\n b"}, "a b"),
        ({"name": "x" * 300}, "x" * 197 + "..."),
        (None, None),
        (["web-1"], None),
        ("web-1", None),
    ],
)
def test_target_is_read_from_the_data(data: object, target: str | None) -> None:
    """A name, or the IDs of resources; the shape of ``data`` is not described, so everything else is ignored."""
    assert Task.from_mapping({"id": "t", "state": "NEW", "data": data}).target == target


@pytest.mark.parametrize("payload", [None, 3, "t-1", [LEAST], True])
def test_task_of_anything_but_an_object_is_a_value_error(payload: object) -> None:
    """Not a TypeError, which a wait would not survive."""
    with pytest.raises(ValueError, match="Expected `object`, got "):
        Task.from_mapping(payload)


def test_state_of_a_task_that_has_not_failed_is_false() -> None:
    """Not None, so that it can be printed and stored."""
    found = [(task.ended, task.failed) for task in map(Task.from_mapping, ({"id": "t", "state": one} for one in TaskState))]
    assert found == [(False, False), (False, False), (True, False), (True, True)]


@pytest.mark.parametrize(("length", "is_kept"), [(2**16 - 2, True), (2**16 - 1, False)])
def test_large_field_of_a_large_body_is_left_out(length: int, is_kept: bool) -> None:
    """A body above 1 MiB loses its fields above 64 KiB, whose size includes the quotes; a smaller body loses none."""
    text, rest = "x" * length, "y" * (2**20 - length)
    assert decode(data=text, unknown=rest).data == (text if is_kept else None)
    fits = json.dumps(LEAST | {"data": text, "unknown": ""}).encode()
    padded = fits + b" " * (2**20 - len(fits))
    assert (len(padded), decode_task(padded).data) == (2**20, text)


@pytest.mark.parametrize("value", ["", 5])
def test_unknown_field_of_a_large_body_is_left_out(value: object) -> None:
    """However small it is: such a body is read for its known fields only."""
    assert decode(data="x" * 2**20, unknown=value).unknown_fields == {}


@pytest.mark.parametrize("value", [TaskSnapshot(Task.from_mapping(LEAST)), CreatedResources(), Task.from_mapping(LEAST)])
def test_values_cannot_be_changed(value: Any) -> None:
    """They are shared between waits, events and results."""
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, value.__struct_fields__[0], None)


def test_resources_are_given_by_name() -> None:
    """The order of the kinds is no interface."""
    with pytest.raises(TypeError):
        CreatedResources(("key",))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("seen", "updated", "older"),
    [(5, 4, True), (5, 5, True), (5, 6, False), (5, None, True), (None, 4, False), (None, None, False)],
)
def test_task_of_the_same_second_may_be_older(seen: int | None, updated: int | None, older: bool) -> None:
    """Times of the API may be whole seconds; without a time of what was seen, nothing is known to be older."""
    at = [None if second is None else datetime(2026, 7, 1, 12, 0, second, tzinfo=UTC) for second in (seen, updated)]
    before, now = (Task(id="t-1", state=TaskState.RUNNING, updated_on=time) for time in at)
    assert (is_older(now, before), is_older(now, None)) == (older, False)
