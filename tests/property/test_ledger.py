"""Whatever is said in whatever order: undoing gives what was before, and nothing said is lost."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faceindex.catalog.files import LocalFiles
from faceindex.identities.events import Event, Kind
from faceindex.identities.ledger import Ledger
from faceindex.identities.state import State, folded
from faceindex.people import export_events, import_events
from tests.support.speech import ref, said

FACES = st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True)
NAMES = st.sampled_from(["Anna", "Bea", "anna", "Zoë", "李", "'; DROP TABLE events; --", "<b>x</b>"])
PAIRS = st.tuples(NAMES, NAMES).filter(lambda pair: pair[0] != pair[1])


def meaning(state: State) -> tuple[Any, ...]:
    """Return what a state says, without the events it comes from."""
    left_out = (state.ignored, state.not_faces)
    return dict(state.names), dict(state.aliases), state.rejected, *left_out, state.apart, state.groups


class Conversation(RuleBasedStateMachine):
    """Two processes that speak in turn, and a stack of what held before each word."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.ledgers = [Ledger(LocalFiles(root)), Ledger(LocalFiles(root))]
        self.before: list[State] = []
        self.after: list[State] = []
        self.count = 0

    def teardown(self) -> None:
        fresh = Ledger(LocalFiles(Path(self.folder.name)))
        assert meaning(fresh.state()) == meaning(self.ledgers[0].state())
        assert len(fresh.events()) == self.count
        assert [Event.from_line(event.to_line()) for event in fresh.events()] == fresh.events()
        with tempfile.TemporaryDirectory() as elsewhere:
            other = Ledger(LocalFiles(Path(elsewhere)))
            assert import_events(other, export_events(fresh.events()), "export") == (self.count, self.count)
            assert import_events(other, export_events(fresh.events()), "export") == (0, self.count)
            assert meaning(other.state()) == meaning(fresh.state())
        self.folder.cleanup()

    def say(self, speaker: int, event: Event) -> None:
        self.before.append(self.ledgers[0].state())
        self.after.clear()
        self.ledgers[speaker].write(lambda _: [event])
        self.count += 1

    @rule(speaker=st.integers(0, 1), faces=FACES, name=NAMES)
    def name(self, speaker: int, faces: list[int], name: str) -> None:
        self.say(speaker, said("name", *faces, person=name))

    @rule(speaker=st.integers(0, 1), names=PAIRS, kind=st.sampled_from(["rename", "merge"]))
    def rename(self, speaker: int, names: tuple[str, str], kind: str) -> None:
        self.say(speaker, said(kind, person=names[0], to=names[1]))

    @rule(speaker=st.integers(0, 1), faces=FACES, others=FACES, name=NAMES, to=st.none() | NAMES)
    def split(self, speaker: int, faces: list[int], others: list[int], name: str, to: str | None) -> None:
        self.say(speaker, said("split", *faces, others=tuple(others), person=name, to=to))

    @rule(speaker=st.integers(0, 1), faces=FACES, others=FACES, same=st.booleans())
    def link(self, speaker: int, faces: list[int], others: list[int], same: bool) -> None:
        self.say(speaker, said("same", *faces) if same else said("not-same", *faces, others=tuple(others)))

    @rule(speaker=st.integers(0, 1), faces=FACES, name=NAMES)
    def reject(self, speaker: int, faces: list[int], name: str) -> None:
        self.say(speaker, said("reject", *faces, person=name))

    @rule(speaker=st.integers(0, 1), faces=FACES, kind=st.sampled_from(["ignore", "not-a-face"]))
    def leave_out(self, speaker: int, faces: list[int], kind: str) -> None:
        self.say(speaker, said(kind, *faces))

    @precondition(lambda self: self.before)
    @rule(speaker=st.integers(0, 1))
    def undo(self, speaker: int) -> None:
        self.after.append(self.ledgers[0].state())
        self.ledgers[speaker].write(lambda now: [said("undo", target=now.done[-1].event_id)])
        self.count += 1
        assert meaning(self.ledgers[0].state()) == meaning(self.before.pop())

    @precondition(lambda self: self.after)
    @rule(speaker=st.integers(0, 1))
    def redo(self, speaker: int) -> None:
        self.before.append(self.ledgers[0].state())
        self.ledgers[speaker].write(lambda now: [said("redo", target=now.undone[-1].event_id)])
        self.count += 1
        assert meaning(self.ledgers[0].state()) == meaning(self.after.pop())

    @invariant()
    def nobody_is_what_was_ruled_out(self) -> None:
        state = self.ledgers[1].state()
        assert all(state.names.get(face) != person for face, person in state.rejected)
        assert not state.left_out & set(state.names)
        assert meaning(folded(state.done)) == meaning(state)


Conversation.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestConversation = Conversation.TestCase


def test_events_name_their_faces_by_photo_and_box() -> None:
    line = said("name", 7, person="Zoë").to_line()

    assert Event.from_line(line).faces == (ref(7),)
    assert Event.from_line(line).kind is Kind.NAME
