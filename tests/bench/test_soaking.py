"""When a soak test reports growth."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from senyum_lab.soak.resources import ResourceSample, check_growth, take_sample, windows
from senyum_lab.soak.soak_site import FASTEST, REAL_S, scenes
from senyum_lab.soak.wear import MIB, WriteCount, WrittenByEvents, WrittenInADay

STEADY = [ResourceSample(5.0 * n, 120.0, 124.0, 6, 17, 100, 100) for n in range(12)]


def failed(samples: list[ResourceSample]) -> list[str]:
    return [found.name for found in check_growth(samples) if not found.passed]


def test_constant_resources_are_not_growth() -> None:
    assert failed(STEADY) == []


@pytest.mark.parametrize(
    ("last", "name"),
    [
        ({"rss_mib": 123.5}, "memory"),
        ({"peak_mib": 127.5}, "peaks"),
        ({"threads": 7}, "threads"),
        ({"descriptors": 18}, "descriptors"),
    ],
)
def test_growth_is_named(last: dict[str, float], name: str) -> None:
    grown = [*STEADY[:8], *(replace(sample, **last) for sample in STEADY[8:])]  # type: ignore[arg-type]
    assert failed(grown) == [name]


def test_returned_memory_is_not_growth() -> None:
    assert failed([*STEADY[:8], *(replace(sample, rss_mib=116.5) for sample in STEADY[8:])]) == []


def test_a_descriptor_open_for_a_moment_is_not_growth() -> None:
    assert failed([*STEADY[:-1], replace(STEADY[-1], descriptors=18)]) == []


def test_a_sample_during_the_work_on_a_frame_is_not_growth() -> None:
    assert failed([*STEADY[:-1], replace(STEADY[-1], rss_mib=124.0)]) == []


def test_a_long_run_is_checked_by_the_minute() -> None:
    """Growth that is over before the end is growth."""
    samples = [ResourceSample(float(n), 120.0, 124.0, 6, 17, 100, 100) for n in range(601)]
    assert [len(part) for part in windows(samples)] == [60] * 9 + [61]
    samples[300:360] = [replace(sample, rss_mib=124.0) for sample in samples[300:360]]
    assert failed(samples) == ["memory"]


def test_too_few_samples_fail() -> None:
    assert failed(STEADY[:3]) == ["samples"]


def test_this_process_can_be_sampled(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(bytes(4096))
    seen = take_sample(os.getpid(), tmp_path, 1.0)
    assert seen.disk_kib == 4
    assert 1 < seen.rss_mib <= seen.peak_mib
    assert seen.threads >= 1
    assert seen.descriptors >= 3


@pytest.mark.parametrize("speed", [1.0, 3.0, FASTEST])
def test_a_loop_lasts_as_long_as_its_events_take(speed: float) -> None:
    assert sum(scene.seconds for scene in scenes(speed)) == pytest.approx(2 * REAL_S / speed)


def test_a_day_has_one_start_and_stretches_the_events_after_it() -> None:
    day = WrittenInADay(
        WrittenByEvents(grown=100, made=150, start=WriteCount(MIB, MIB), rest=WriteCount(MIB, 0.0)),
        idle=WriteCount(0.0, MIB),
        idle_hours=12.0,
    )
    assert day.mib == pytest.approx(1 + 1 + 500 / 50 + 2)
    assert "a day of 600 events and 24 hours: 14.0 MiB (limit 16)" in str(day)


def test_a_whole_day_of_events_is_not_stretched() -> None:
    day = WrittenInADay(
        WrittenByEvents(40, 600, WriteCount(MIB, 0.0), WriteCount(3 * MIB, MIB)),
        WriteCount(0.0, 0.0),
        1.0,
    )
    assert day.mib == pytest.approx(5.0)
