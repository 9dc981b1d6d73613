"""What holds after what was said."""

from faceindex.identities.state import state_of
from tests.support.speech import face, said


def test_the_later_name_of_a_face_holds() -> None:
    state = state_of([said("name", 1, 2, person="Anna"), said("name", 2, person="Bea")])

    assert state.names == {face(1): "Anna", face(2): "Bea"}


def test_a_rename_takes_all_faces_along_and_those_who_came_with_the_name() -> None:
    state = state_of([said("name", 1, person="Anna"), said("rename", person="Anna", to="Bea")])

    assert state.names == {face(1): "Bea"}
    assert state.person_of(face(9), "Anna") == "Bea"


def test_names_exchanged_by_three_renames_are_exchanged() -> None:
    steps = [("Anna", "x"), ("Bea", "Anna"), ("x", "Bea")]

    state = state_of([said("rename", person=person, to=to) for person, to in steps])

    assert [state.person_of(face(1), name) for name in ("Anna", "Bea")] == ["Bea", "Anna"]


def test_who_is_named_after_a_rename_is_somebody_else() -> None:
    state = state_of(
        [
            said("rename", person="Anna", to="Bea"),
            said("name", 1, person="Anna"),
            said("rename", person="Anna", to="Cleo"),
        ]
    )

    assert state.names == {face(1): "Cleo"}
    assert state.person_of(face(2), "Anna") == "Bea"


def test_a_rejected_face_is_not_that_person_until_it_is_said_to_be() -> None:
    named, rejected = said("name", 1, person="Anna"), said("reject", 1, person="Anna")

    assert state_of([named, rejected]).names == {}
    assert state_of([rejected]).person_of(face(1), "Anna") is None
    assert state_of([rejected, named]).rejected == frozenset()


def test_a_rejection_goes_with_the_person_through_a_merge() -> None:
    state = state_of([said("reject", 1, person="Ann"), said("merge", person="Ann", to="Anna")])

    assert state.rejected == {(face(1), "Anna")}


def test_a_split_takes_faces_from_a_person_and_keeps_them_apart_from_the_rest() -> None:
    state = state_of([said("name", 1, 2, 3, person="Anna"), said("split", 3, others=(1, 2), person="Anna", to="Bea")])

    assert state.names == {face(1): "Anna", face(2): "Anna", face(3): "Bea"}
    assert state.apart == {(face(1), face(3)), (face(2), face(3))}
    assert state.rejected == {(face(3), "Anna")}


def test_faces_said_to_be_the_same_take_the_one_name_among_them() -> None:
    said_so = [said("same", 2, 1), said("same", 3, 2), said("name", 1, person="Anna")]

    assert state_of(said_so).names == dict.fromkeys([face(1), face(2), face(3)], "Anna")
    assert state_of([*said_so, said("reject", 3, person="Anna")]).names == {face(1): "Anna", face(2): "Anna"}
    assert state_of([*said_so, said("name", 3, person="Bea")]).names == {face(1): "Anna", face(3): "Bea"}


def test_the_later_word_on_a_pair_holds() -> None:
    state = state_of([said("same", 1, 2), said("not-same", 2, others=(1,))])

    assert (state.apart, state.groups) == ({(face(1), face(2))}, ())


def test_the_rest_stays_the_same_person_when_one_is_taken_out() -> None:
    state = state_of([said("same", 2, 1, 3), said("not-same", 2, others=(1, 3))])

    assert [set(group) for group in state.groups] == [{face(1), face(3)}]


def test_faces_that_a_third_is_said_to_be_the_same_as_stay_apart_when_they_were_told_so_last() -> None:
    state = state_of([said("same", 1, 2), said("same", 2, 3), said("not-same", 1, others=(3,))])

    assert state.groups == ((face(1), face(2)),)
    assert state_of([*state.done, said("name", 3, person="Anna")]).names == {face(3): "Anna"}


def test_nobody_shares_the_name_of_a_face_that_it_was_told_apart_from() -> None:
    events = [said("not-same", 2, others=(3,)), said("name", 1, 3, person="Anna"), said("same", 1, 2)]

    assert state_of(events).names == {face(1): "Anna", face(3): "Anna"}


def test_who_is_taken_from_a_person_leaves_alone() -> None:
    events = [said("same", 1, 2, 3, 4), said("name", 4, person="Anna"), said("reject", 2, person="Anna")]

    assert state_of(events).names == dict.fromkeys([face(1), face(3), face(4)], "Anna")


def test_a_face_split_from_a_cluster_in_which_its_person_stays_loses_the_name() -> None:
    state = state_of([said("name", 1, 2, 3, person="Anna"), said("split", 3, others=(1, 2))])

    assert state.names == {face(1): "Anna", face(2): "Anna"}
    assert state.rejected == {(face(3), "Anna")}


def test_an_ignored_face_has_no_name_and_naming_it_brings_it_back() -> None:
    ignored = [said("name", 1, person="Anna"), said("ignore", 1), said("not-a-face", 2)]

    assert state_of(ignored).names == {}
    assert state_of(ignored).left_out == {face(1), face(2)}
    assert state_of([*ignored, said("name", 1, 2, person="Bea")]).left_out == frozenset()


def test_undoing_an_old_merge_leaves_what_was_said_since() -> None:
    merge = said("merge", person="Ann", to="Anna")
    events = [said("name", 1, person="Ann"), said("name", 2, person="Anna"), merge, said("name", 3, person="Cleo")]

    state = state_of([*events, said("undo", target=merge.event_id)])

    assert state.names == {face(1): "Ann", face(2): "Anna", face(3): "Cleo"}


def test_a_new_word_ends_what_can_be_redone_but_an_event_can_still_be_named() -> None:
    first, second = said("name", 1, person="Anna"), said("name", 2, person="Bea")
    undone = [first, said("undo", target=first.event_id), second]

    assert state_of(undone).undone == ()
    assert state_of([*undone, said("redo", target=first.event_id)]).names == {face(1): "Anna", face(2): "Bea"}


def test_undoing_what_nobody_said_changes_nothing() -> None:
    assert state_of([said("undo", target="0" * 32)]) == state_of([])
