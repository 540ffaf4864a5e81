import numpy as np
import pytest

from edge.gallery import DIMENSION, Gallery
from edge.roster.thresholds import adaptive_thresholds, estimate
from edge.settings import RosterSettings
from edge.types import Floats


def crowd(people: int, directions: int, seed: int = 1) -> Floats:
    """Strangers' templates: unit vectors; the fewer directions, the more alike they are."""
    rows = np.zeros((people, DIMENSION), np.float32)
    rows[:, :directions] = np.random.default_rng(seed).normal(size=(people, directions))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def gallery(rows: Floats) -> Gallery:
    return Gallery([str(n) for n in range(len(rows))], rows)


def beside(rows: Floats, seed: int = 2) -> Floats:
    """Return further photos of the same people, about 0.8 from the first."""
    noise = np.random.default_rng(seed).normal(size=rows.shape).astype(np.float32)
    others: Floats = rows + 0.75 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    return others


@pytest.mark.parametrize("people", [300, 2500])
@pytest.mark.parametrize("rate", [1e-1, 1e-2])
def test_strangers_reach_the_threshold_as_often_as_was_aimed_at(people: int, rate: float) -> None:
    roster, strangers = crowd(people, DIMENSION), crowd(6000, DIMENSION, seed=9)
    said = estimate(roster, rate)
    assert said is not None
    nearest = (strangers @ roster.T).max(axis=1)
    assert rate / 2 < (nearest >= said.threshold).mean() < rate * 2
    assert 0 < said.error < 0.03


def test_more_people_call_for_a_higher_threshold() -> None:
    everybody = crowd(1600, 60)
    said = [estimate(everybody[:size], 1e-4) for size in (150, 1600)]
    few, many = [s for s in said if s is not None]
    assert few.threshold + 0.02 < many.threshold
    assert many.error < few.error


def test_people_enrolled_twice_hardly_move_it() -> None:
    roster = crowd(300, 60)
    twice = np.concatenate((roster, beside(roster[:15])))
    assert (twice[:15] * twice[300:]).sum(axis=1).mean() > 0.7
    clean, noisy = estimate(roster, 1e-4), estimate(twice, 1e-4)
    assert clean is not None
    assert noisy is not None
    assert noisy.threshold == pytest.approx(clean.threshold, abs=0.02)
    assert noisy.error < 0.03


def test_it_is_the_same_every_time() -> None:
    roster = crowd(2500, 80)
    assert estimate(roster, 1e-4) == estimate(roster.copy(), 1e-4)


def test_a_small_roster_says_nothing() -> None:
    settings = RosterSettings()
    assert estimate(crowd(99, 40), 1e-4) is None
    assert adaptive_thresholds(gallery(crowd(99, 40)), settings) is settings
    assert adaptive_thresholds(gallery(crowd(0, 40)), settings) is settings
    assert adaptive_thresholds(gallery(crowd(100, 40)), settings) != settings


def test_people_all_alike_say_nothing() -> None:
    assert estimate(np.repeat(crowd(1, 40), 200, axis=0), 1e-4) is None


def test_the_threshold_is_what_the_roster_says_and_its_error_more() -> None:
    roster, settings = crowd(400, 50), RosterSettings()
    said, rule = (
        estimate(roster, settings.false_match_rate),
        adaptive_thresholds(gallery(roster), settings),
    )
    assert said is not None
    assert settings.threshold < rule.threshold < settings.max_threshold
    assert rule.threshold == pytest.approx(said.threshold + said.error)
    assert rule.margin == pytest.approx(max(settings.margin, said.margin))
    assert rule.file == settings.file


def test_the_settings_bound_it() -> None:
    settings = RosterSettings(max_threshold=0.7, max_margin=0.1)
    highest = adaptive_thresholds(gallery(crowd(400, 40)), settings)
    lowest = adaptive_thresholds(gallery(crowd(400, DIMENSION)), settings)
    assert (highest.threshold, highest.margin) == (0.7, 0.1)
    assert (lowest.threshold, lowest.margin) == (0.62, 0.08)


def test_nothing_aimed_at_leaves_the_settings_alone() -> None:
    settings = RosterSettings(false_match_rate=0)
    assert adaptive_thresholds(gallery(crowd(400, 30)), settings) is settings
