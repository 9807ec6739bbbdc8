"""Events as documents, in rows and in the bytes of damaged files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waiter.sidecar.storage.event_log import StoredEvent, event_of, reset_event, row_of, salvage_events
from waiter.sidecar.storage.pages import DamagedDatabase
from waiter.sidecar.storage.salvage import EVENT

EVENTS = st.builds(
    StoredEvent, st.integers(1, 2**62), st.text(st.characters(codec="ascii", exclude_characters="\n")), st.binary()
)


@given(EVENTS)
def test_event_is_read_as_it_was_written(event: StoredEvent) -> None:
    """Its number, name and data are as before."""
    assert event_of(*row_of(event)) == event


@given(EVENTS, st.data())
def test_damaged_event_is_read_as_a_reset(event: StoredEvent, data: st.DataObject) -> None:
    """The reset has the number of the row."""
    number, sealed = row_of(event)
    damaged = bytearray(sealed)
    damaged[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert event_of(number, bytes(damaged)) == reset_event(number, number - 1)


def test_salvaged_events_have_a_reset_in_each_gap() -> None:
    """The last reset has the given number, or a higher one where the clock was set back."""
    events = [StoredEvent(number, "x", b"{}") for number in (7, 1, 2, 5)]
    parts = [
        b"".join(row_of(event)[1] for event in events[:2]),
        b"-" + b"-".join(row_of(event)[1] for event in events[2:]) + EVENT,
    ]
    names = {1: "x", 2: "x", 4: "stream.reset", 5: "x", 6: "stream.reset", 7: "x"}
    for first_event, last in ((20, 20), (3, 8)):
        found, lost = salvage_events(DamagedDatabase(*parts), first_event)
        assert ({event.id: event.name for event in found}, lost) == (names | {last: "stream.reset"}, 1)


def test_nothing_is_salvaged_from_other_bytes() -> None:
    """There is no reset either: a client whose position is unknown gets one anyway."""
    assert salvage_events(DamagedDatabase(b"", b"not a database"), 20) == ([], 0)
