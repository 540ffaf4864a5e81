from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from edge.types import (
    Box,
    FaceObservation,
    FrameResult,
    LivenessRules,
    PassiveLivenessScore,
    Quality,
    QualityProblem,
)
from senyum_lab.evaluate.acceptance import assess, choose
from senyum_lab.evaluate.acceptance_report import as_text, describe, draw_chart, draw_page, write
from senyum_lab.evaluate.presentations import Presentation

RULES = LivenessRules(threshold=0.5, frames=5, motion=0, reaction=0, prompt_delay=0)
GOOD = Quality(200, 100, 120, 40, 0, 0, 0, None)
BLURRED = Quality(200, 1, 120, 40, 0, 0, 0, QualityProblem.BLURRED)
MODEL = "9e4d08f1fef8" + "0" * 52


def face(track: int, score: float | None, quality: Quality = GOOD) -> FaceObservation:
    liveness = None if score is None else PassiveLivenessScore(score, {})
    return FaceObservation(track, Box(0, 0, 9, 9), 1, quality, liveness=liveness)


def presented(
    kind: str, person: str | None, scores: Sequence[float], track: int = 1
) -> Presentation:
    one = Presentation(kind, person)
    for score in scores:
        one.add(FrameResult(0, (face(track, score),)))
    return one


def sample(
    living: Sequence[float], prints: Sequence[float], *, named: bool = True
) -> list[Presentation]:
    """Return a presentation of six frames for each score, one a person."""
    return [
        presented(kind, str(n) if named else None, [score] * 6)
        for kind, scores in (("living", living), ("print", prints))
        for n, score in enumerate(scores)
    ]


# A camera on which everybody scores low: shifted, but well separated.
LOW = sample([0.3 + n / 100 for n in range(10)], [0.05 + n / 100 for n in range(10)])


def test_each_track_is_an_attempt_and_one_that_passes_is_enough() -> None:
    one = Presentation("print", "1")
    for score in [0.9] * 4:
        one.add(FrameResult(0, (face(1, score),)))
    assert one.accepted(RULES) is None
    for score in [0.2] * 5:
        one.add(FrameResult(0, (face(2, score),)))
    assert one.accepted(RULES) is False
    assert one.score(RULES) == pytest.approx(0.2)
    for score in [0.8] * 5:
        one.add(FrameResult(0, (face(3, score),)))
    assert one.accepted(RULES) is True
    assert one.score(RULES) == pytest.approx(0.8)


def test_frames_that_cannot_be_judged_are_counted_by_their_reason() -> None:
    one = presented("living", "1", [0.9] * 5)
    one.add(FrameResult(0))
    one.add(FrameResult(0, (face(1, None, BLURRED),)))
    one.add(FrameResult(0, (face(1, None),)))  # one that the device does not judge either
    assert (one.frames, one.judged_frames) == (8, 5)
    assert one.unjudged == {"no-face": 1, "blurred": 1}
    assert Presentation.from_json(one.to_json()).to_json() == one.to_json()


def test_an_attack_that_could_not_be_judged_is_not_a_detected_one() -> None:
    living, attack, unseen = assess(
        [*sample([0.9], [0.6]), presented("phone", "0", [0.1]), presented("print", "1", [])], RULES
    ).shipped
    assert (living.rate, living.wrong) == (0, 0)
    assert (attack.kind, attack.rate, attack.interval) == ("phone", None, (0.0, 1.0))
    assert (unseen.kind, unseen.presented, unseen.judged, unseen.wrong) == ("print", 2, 1, 1)


def test_the_threshold_lies_in_the_middle_of_the_gap_in_log_odds() -> None:
    # Odds of 1/9 and 9: the middle is 1.
    assert choose(sample([0.9, 0.95], [0.1, 0.02]), RULES) == pytest.approx(0.5)
    assert choose(sample([0.9], []), RULES) is None


def test_a_threshold_is_checked_on_people_who_did_not_choose_it() -> None:
    result = assess(LOW, RULES)
    assert [row.wrong for row in result.shipped] == [10, 0]
    assert result.checked is not None
    assert [row.wrong for row in result.checked] == [0, 0]
    assert result.proposed is not None
    assert 0.14 < result.proposed < 0.3
    assert not result.weak


def test_a_person_who_alone_carries_the_threshold_is_an_error_when_left_out() -> None:
    # Without person 0 the gap reaches from 0.1 to 0.9 and its middle lies above 0.3.
    living, prints = [0.3, *[0.9] * 9], [0.1] * 10
    checked = assess(sample(living, prints), RULES).checked
    assert checked is not None
    assert [row.wrong for row in checked] == [1, 0]
    everybody = choose(sample(living, prints), RULES)
    assert everybody is not None
    assert everybody < 0.3  # on its own people it makes no error


@pytest.mark.parametrize(
    ("presentations", "small", "weak"),
    [
        (sample([0.9] * 9, [0.1] * 10), ("living",), ()),
        (sample([0.9], [0.1]), ("living", "print"), ()),
        (sample([0.4] * 10, [0.4] * 10), (), ("living",)),
        (sample([0.6] * 10, [0.6] * 10), (), ("print",)),
        (sample([0.3] * 10, [0.1] * 10, named=False), ("living", "print"), ("living",)),
    ],
)
def test_nothing_is_proposed_on_too_few_people_or_useless_scores(
    presentations: list[Presentation], small: tuple[str, ...], weak: tuple[str, ...]
) -> None:
    result = assess(presentations, RULES)
    assert (result.too_small, result.weak, result.proposed) == (small, weak, None)


def test_a_threshold_that_is_good_enough_is_kept() -> None:
    assert assess(sample([0.9] * 10, [0.1] * 10), RULES).proposed is None


GOLDEN = """\
Liveness check of urn:senyum:a:b:c
2026-12-01 16:40. Camera of the unit.
Liveness model 9e4d08f1fef8.

At the threshold in use, 0.5
                      people  presented  judged  errors    rate    95 % interval
BPCER, living people      10         10      10      10  100.0%  72.2% to 100.0%
APCER, print              10         10      10       0    0.0%    0.0% to 27.8%

Each person at a threshold chosen on the other people
                      people  presented  judged  errors  rate  95 % interval
BPCER, living people      10         10      10       0  0.0%  0.0% to 27.8%
APCER, print              10         10      10       0  0.0%  0.0% to 27.8%

Frames that could not be judged: 0 of 120.
a\\x1b[2J

These rates hold for this device, place and light. With 10 presentations of a kind, an error rate
below 28% cannot be shown even without an error.
Proposed threshold: 0.2089. It is chosen on all people; its error rates are those of the second
table. Add these lines to /etc/senyum/senyum.toml, then run systemctl restart senyum:

[liveness]
threshold = 0.2089
threshold_model = "9e4d08f1fef8\""""


def test_the_report_in_the_terminal_as_html_and_as_one_page(tmp_path: Path) -> None:
    report = describe(
        assess(LOW, RULES),
        LOW,
        RULES,
        source="urn:senyum:a:b:c",
        facts=["2026-12-01 16:40. Camera of the unit."],
        notes=["a\x1b[2J"],
        model=MODEL,
    )
    assert as_text(report) == GOLDEN
    page, pdf = write(report, tmp_path)
    text = page.read_text()
    assert "threshold = 0.2089" in text
    assert 'src="data:image/png;base64,' in text
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.read_bytes().count(b"/Type /Page\n") == 1
    drawn = draw_page(report, draw_chart(report))
    bottom = drawn.crop((0, drawn.height - 60, drawn.width, drawn.height))
    assert bottom.getextrema() == ((255, 255),) * 3  # all of it is on the page


def test_the_chart_shows_attacks_and_living_people_in_other_colours() -> None:
    report = describe(assess(LOW, RULES), LOW, RULES, source="", facts=[], notes=[], model=MODEL)
    chart = draw_chart(report)
    colours = {colour for _, colour in chart.getcolors(1 << 20) or []}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    assert isinstance(chart, Image.Image)
