import pytest

from senyum_central.store.chain_rules import (
    ChainDecision,
    ChainEntry,
    Classification,
    Neighbours,
    classify,
    classify_head,
)

ENTRY = ChainEntry("urn:senyum:kota:depok:lobby-1", "id-12", 12, "d12", "d11")


@pytest.mark.parametrize(
    "stored",
    [
        Neighbours(),
        Neighbours(before=frozenset({"d11"})),
        Neighbours(before=frozenset({"other", "d11"})),
        Neighbours(after=frozenset({"d12"})),
        Neighbours(before=frozenset({"d11"}), after=frozenset({"d12"}), head="d12"),
    ],
)
def test_an_event_that_fits_is_genuine(stored: Neighbours) -> None:
    assert classify(ENTRY, stored) == ChainDecision(Classification.GENUINE)


def test_the_same_bytes_again_are_a_duplicate() -> None:
    found = classify(ENTRY, Neighbours(same_id="d12", same=frozenset({"d12"})))
    assert (found.classification, found.keep) == (Classification.DUPLICATE, False)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (Neighbours(same=frozenset({"x"})), "another event 12"),
        (Neighbours(before=frozenset({"x"})), "does not follow the stored event 11"),
        (Neighbours(after=frozenset({"x"})), "the stored event 13 does not follow event 12"),
        (Neighbours(head="x"), "is not the head"),
    ],
)
def test_a_fork_is_kept_and_says_why(stored: Neighbours, why: str) -> None:
    found = classify(ENTRY, stored)
    assert (found.classification, found.keep) == (Classification.FORK, True)
    assert why in found.reason


def test_an_id_with_other_content_is_no_second_event() -> None:
    found = classify(ENTRY, Neighbours(same_id="x"))
    assert (found.classification, found.keep) == (Classification.FORK, False)
    assert "id of another event" in found.reason


@pytest.mark.parametrize(
    ("stored", "named", "verdict"),
    [
        (frozenset(), None, Classification.GENUINE),
        (frozenset({"h", "x"}), None, Classification.GENUINE),
        (frozenset(), "h", Classification.GENUINE),
        (frozenset({"x"}), None, Classification.FORK),
        (frozenset(), "x", Classification.FORK),
    ],
)
def test_a_named_head_is_held_against_what_is_known(
    stored: frozenset[str], named: str | None, verdict: Classification
) -> None:
    assert classify_head(7, "h", stored, named).classification is verdict
