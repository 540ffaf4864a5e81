"""What a soak calls growth."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from soaking.stage import FASTEST, REAL_S, scenes
from soaking.watch import Sample, judge, look

STEADY = [Sample(5.0 * n, 120.0, 6, 17, 100, 100) for n in range(12)]


def failed(samples: list[Sample]) -> list[str]:
    return [found.name for found in judge(samples) if not found.holds]


def test_what_stays_is_no_growth() -> None:
    assert failed(STEADY) == []


@pytest.mark.parametrize(
    ("last", "name"),
    [
        ({"rss_mib": 123.5}, "memory"),
        ({"rss_mib": 116.5}, "memory"),
        ({"threads": 7}, "threads"),
        ({"descriptors": 18}, "descriptors"),
    ],
)
def test_what_grows_is_named(last: dict[str, float], name: str) -> None:
    grown = [*STEADY[:8], *(replace(sample, **last) for sample in STEADY[8:])]  # type: ignore[arg-type]
    assert failed(grown) == [name]


def test_one_that_is_open_for_a_moment_is_no_growth() -> None:
    assert failed([*STEADY[:-1], replace(STEADY[-1], descriptors=18)]) == []


def test_too_few_samples_prove_nothing() -> None:
    assert failed(STEADY[:3]) == ["samples"]


def test_this_very_process_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(bytes(4096))
    seen = look(os.getpid(), tmp_path, 1.0)
    assert seen.disk_kib == 4
    assert seen.rss_mib > 1
    assert seen.threads >= 1
    assert seen.descriptors >= 3


@pytest.mark.parametrize("speed", [1.0, 3.0, FASTEST])
def test_a_loop_lasts_as_long_as_its_events_take(speed: float) -> None:
    assert sum(scene.seconds for scene in scenes(speed)) == pytest.approx(2 * REAL_S / speed)
