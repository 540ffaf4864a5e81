import numpy as np
import pytest

from edge.gallery import DIMENSION, Gallery, nearest_others
from edge.roster.thresholds import WEIGHT, adaptive_thresholds, estimate
from edge.settings import RosterLimits, RosterSettings
from edge.types import Floats


def crowd(people: int, directions: int, seed: int = 1) -> Floats:
    """Strangers' templates: unit vectors; the fewer directions, the more alike they are."""
    rows = np.zeros((people, DIMENSION), np.float32)
    rows[:, :directions] = np.random.default_rng(seed).normal(size=(people, directions))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def gallery(rows: Floats) -> Gallery:
    return Gallery([str(n) for n in range(len(rows))], rows, nearest_others(rows))


def beside(rows: Floats, seed: int = 2) -> Floats:
    """Return further photos of the same people, about 0.8 from the first."""
    noise = np.random.default_rng(seed).normal(size=rows.shape).astype(np.float32)
    others: Floats = rows + 0.75 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    return others


def kind(people: int, shared: float, seed: int) -> Floats:
    """Strangers who resemble each other: their cosines lie around `shared`."""
    rows = crowd(people, DIMENSION - 1, seed) * np.float32(np.sqrt(1 - shared))
    rows[:, -1] = np.sqrt(shared)
    return rows


def accepted(roster: Gallery, faces: Floats, rule: RosterSettings) -> float:
    """Return the share of the faces that are near enough to somebody."""
    found = [match for face in faces if (match := roster.search(face)) is not None]
    near = [match.similarity >= rule.required(match.likeness) for match in found]
    return sum(near) / len(faces)


@pytest.mark.parametrize("people", [300, 2500])
@pytest.mark.parametrize("rate", [1e-1, 1e-2])
def test_strangers_reach_the_threshold_as_often_as_was_aimed_at(people: int, rate: float) -> None:
    roster, strangers = gallery(crowd(people, DIMENSION)), crowd(3000, DIMENSION, seed=9)
    estimated = estimate(roster, rate)
    assert estimated is not None
    found = [match for face in strangers if (match := roster.search(face)) is not None]
    scores = [match.similarity - WEIGHT * (match.likeness or 0) for match in found]
    assert rate / 2 < np.mean([score >= estimated.base for score in scores]) < rate * 2
    assert 0 < estimated.error < 0.03


def test_people_of_one_kind_need_a_nearer_match() -> None:
    alike, others = kind(80, 0.3, seed=3), crowd(220, DIMENSION)
    roster = gallery(np.concatenate((alike[:40], others)))
    rule = adaptive_thresholds(roster, RosterSettings(threshold=0.2, false_match_rate=1e-2))
    assert isinstance(rule, RosterLimits)
    one_of_them, other = roster.search(alike[0]), roster.search(others[0])
    assert one_of_them is not None
    assert other is not None
    assert rule.required(other.likeness) + 0.1 < rule.required(one_of_them.likeness)
    strangers = alike[40:]
    fixed = rule.model_copy(update={"weight": 0.0, "base": rule.required(other.likeness)})
    assert accepted(roster, strangers, fixed) > 0.1
    assert accepted(roster, strangers, rule) < 0.05


def test_a_small_roster_of_one_kind_needs_nearer_matches_than_a_mixed_one() -> None:
    settings = RosterSettings()
    alike, mixed = gallery(kind(20, 0.3, seed=3)), gallery(crowd(20, 100))
    rules = [adaptive_thresholds(roster, settings) for roster in (alike, mixed)]
    found = [roster.search(roster.matrix[0]) for roster in (alike, mixed)]
    near, ordinary = (
        rule.required(match.likeness)
        for rule, match in zip(rules, found, strict=True)
        if match is not None
    )
    assert near > 0.7
    assert ordinary == 0.62
    assert [rule.threshold for rule in rules] == [0.62, 0.62]


def test_one_relative_does_not_raise_the_threshold() -> None:
    roster = crowd(30, 50)
    related = np.concatenate((roster, beside(roster[:1])))
    alone, beside_them = (gallery(rows).search(roster[0]) for rows in (roster, related))
    assert alone is not None
    assert beside_them is not None
    assert beside_them.margin is not None
    assert beside_them.margin < 0.3
    assert beside_them.likeness == pytest.approx(alone.likeness, abs=0.25)  # not by 0.8


def test_more_people_call_for_a_higher_threshold() -> None:
    everybody, settings = crowd(1600, 60), RosterSettings(max_threshold=1.0)
    few, many = (adaptive_thresholds(gallery(everybody[:size]), settings) for size in (150, 1600))
    assert few.threshold < many.threshold
    errors = [
        estimated.error
        for n in (150, 1600)
        if (estimated := estimate(gallery(everybody[:n]), 1e-4))
    ]
    assert errors[1] < errors[0]


def test_people_enrolled_twice_hardly_move_it() -> None:
    roster = crowd(300, 60)
    twice = np.concatenate((roster, beside(roster[:15])))
    assert (twice[:15] * twice[300:]).sum(axis=1).mean() > 0.7
    clean, noisy = estimate(gallery(roster), 1e-4), estimate(gallery(twice), 1e-4)
    assert clean is not None
    assert noisy is not None
    assert noisy.base == pytest.approx(clean.base, abs=0.02)
    assert noisy.error < 0.03


def test_it_is_the_same_every_time() -> None:
    roster = crowd(2500, 80)
    assert estimate(gallery(roster), 1e-4) == estimate(gallery(roster.copy()), 1e-4)


def test_a_small_roster_keeps_the_settings_as_its_lower_bound() -> None:
    settings = RosterSettings()
    assert estimate(gallery(crowd(99, 40)), 1e-4) is None
    few = adaptive_thresholds(gallery(crowd(99, 40)), settings)
    assert (few.threshold, few.margin) == (settings.threshold, settings.margin)
    assert few.required(-2.0) == settings.threshold
    for people in (0, 1, 4):
        assert adaptive_thresholds(gallery(crowd(people, 40)), settings) is settings
    assert adaptive_thresholds(gallery(crowd(5, 40)), settings) is not settings
    assert adaptive_thresholds(gallery(crowd(100, 40)), settings).threshold > settings.threshold


def test_people_all_alike_say_nothing() -> None:
    assert estimate(gallery(np.repeat(crowd(1, 40), 200, axis=0)), 1e-4) is None


def test_the_threshold_is_what_the_roster_says_and_its_error_more() -> None:
    roster, settings = gallery(crowd(400, 70)), RosterSettings()
    estimated = estimate(roster, settings.false_match_rate)
    rule = adaptive_thresholds(roster, settings)
    assert estimated is not None
    assert settings.threshold < rule.threshold < settings.max_threshold
    usual = estimated.base + estimated.error + WEIGHT * estimated.likeness
    assert rule.threshold == rule.required(estimated.likeness) == pytest.approx(usual)
    assert rule.margin == pytest.approx(max(settings.margin, estimated.margin))
    assert rule.file == settings.file


def test_the_settings_bound_it() -> None:
    settings = RosterSettings(max_threshold=0.7, max_margin=0.1)
    highest = adaptive_thresholds(gallery(crowd(400, 30)), settings)
    lowest = adaptive_thresholds(gallery(crowd(400, DIMENSION)), settings)
    assert (highest.threshold, highest.margin) == (0.7, 0.1)
    assert (lowest.threshold, lowest.margin) == (0.62, 0.08)
    assert (lowest.required(-2.0), lowest.required(2.0), lowest.required(None)) == (0.62, 0.7, 0.62)


def test_nothing_aimed_at_leaves_the_settings_alone() -> None:
    settings = RosterSettings(false_match_rate=0)
    assert adaptive_thresholds(gallery(crowd(400, 30)), settings) is settings
