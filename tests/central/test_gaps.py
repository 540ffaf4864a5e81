from hypothesis import given
from hypothesis import strategies as st

from senyum_central.ingest.gap_tracker import GapTracker
from senyum_central.store.gaps import ChainStatus, Gap

GRACE = 100


def ledger_of(*numbers: int) -> GapTracker:
    ledger = GapTracker(GRACE)
    for number in numbers:
        ledger.record_arrival(number, 0)
    return ledger


def test_a_hole_is_reported_by_number_once() -> None:
    ledger = ledger_of(*range(1, 12), 15)
    assert ledger.report_overdue(GRACE - 1) == ()
    assert ledger.report_overdue(GRACE) == (Gap(12, 14),)
    for number in (14, 12, 13):
        assert ledger.report_overdue(10 * GRACE) == ()
        ledger.record_arrival(number, 10 * GRACE)
    assert ledger.missing == ()


def test_what_comes_late_but_in_time_is_no_gap() -> None:
    ledger = ledger_of(3, 1, 2)
    assert ledger.missing == ()
    assert ledger.report_overdue(10 * GRACE) == ()


def test_a_named_number_shows_a_missing_tail() -> None:
    ledger = ledger_of(*range(1, 8))
    ledger.record_head(10, 0)
    assert ledger.report_overdue(GRACE) == (Gap(8, 10),)


def test_a_backlog_on_its_way_is_no_gap() -> None:
    """The unit said 10 and then 12 before its backlog had arrived; each event renews the grace."""
    ledger = ledger_of(1)
    ledger.record_head(10, 0)
    ledger.record_head(12, 50)
    for number in range(2, 9):
        now = number * (GRACE - 1)
        ledger.record_arrival(number, now)
        assert ledger.report_overdue(now) == ()
    assert ledger.report_overdue(8 * (GRACE - 1) + GRACE) == (Gap(9, 10), Gap(11, 12))


def test_a_lost_connection_counts_towards_no_gap() -> None:
    ledger = ledger_of(1, 3)
    ledger.restart_grace(1000)
    assert ledger.report_overdue(1000 + GRACE - 1) == ()
    assert ledger.report_overdue(1000 + GRACE) == (Gap(2, 2),)


def test_words() -> None:
    assert str(Gap(12, 14)) == "events 12–14 are missing"  # noqa: RUF001 - a range
    assert str(Gap(12, 12)) == "event 12 is missing"


def test_resumed_from_a_store_it_reports_nothing_twice() -> None:
    standing = ChainStatus(
        highest=20,
        missing=(Gap(3, 3), Gap(10, 16), Gap(19, 20)),
        reported=(Gap(2, 4), Gap(12, 14), Gap(6, 7)),
    )
    ledger = GapTracker.resume(standing, GRACE, 0)
    assert ledger.report_overdue(0) == ()
    assert ledger.report_overdue(GRACE) == (Gap(10, 11), Gap(15, 16), Gap(19, 20))


@given(st.integers(1, 20), st.integers(0, 19), st.sets(st.integers(1, 45), max_size=12))
def test_numbers_are_taken_out_of_a_gap(first: int, more: int, others: set[int]) -> None:
    gap = Gap(first, first + more)
    left = gap.minus(Gap(n, n + n % 3) for n in others)
    taken = {m for n in others for m in range(n, n + n % 3 + 1)}
    numbers = [n for part in left for n in range(part.first, part.last + 1)]
    assert numbers == sorted(set(range(gap.first, gap.last + 1)) - taken)


@given(
    st.lists(st.integers(1, 40), max_size=80),
    st.lists(st.integers(1, 40), max_size=5),
    st.data(),
)
def test_what_is_missing_follows_from_the_set_of_numbers(
    arrivals: list[int], named: list[int], data: st.DataObject
) -> None:
    ledger = GapTracker(GRACE)
    steps = data.draw(st.permutations([(n, True) for n in arrivals] + [(n, False) for n in named]))
    now = 0
    reported: set[int] = set()
    for number, arrived in steps:
        now += data.draw(st.integers(0, 2 * GRACE))
        (ledger.record_arrival if arrived else ledger.record_head)(number, now)
        for gap in ledger.report_overdue(now):
            fresh = set(range(gap.first, gap.last + 1))
            assert not fresh & reported, "reported twice"
            reported |= fresh
    absent = set(range(1, max([0, *arrivals, *named]) + 1)) - set(arrivals)
    assert {n for hole in ledger.missing for n in range(hole.first, hole.last + 1)} == absent
    last = ledger.report_overdue(now + GRACE)
    reported |= {n for gap in last for n in range(gap.first, gap.last + 1)}
    assert absent <= reported
