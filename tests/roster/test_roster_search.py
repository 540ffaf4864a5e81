import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.gallery import DIMENSION, NEAREST, Gallery, mean_template, nearest_others
from edge.types import Floats


def units(count: int, seed: int) -> Floats:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def gallery(rows: Floats) -> Gallery:
    return Gallery([f"{n:032x}" for n in range(len(rows))], rows)


@given(st.integers(2, 400), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_search_is_exact(count: int, seed: int) -> None:
    rows, probe = units(count, seed), units(1, seed + 1)[0]
    cosines = sorted(
        ((float(np.dot(row.astype(float), probe.astype(float))), n) for n, row in enumerate(rows)),
        reverse=True,
    )
    match = gallery(rows).search(probe)
    assert match is not None
    assert match.similarity == pytest.approx(cosines[0][0], abs=1e-5)
    assert match.runner_up == pytest.approx(cosines[1][0], abs=1e-5)
    assert cosines[0][0] - float(np.dot(rows[int(match.person, 16)], probe)) < 1e-5


@pytest.mark.parametrize("count", [5, 127, 128, 129, 300])
def test_the_nearest_others_of_everybody(count: int) -> None:
    rows = units(count, 3)
    cosines = rows.astype(float) @ rows.astype(float).T
    np.fill_diagonal(cosines, -1.0)
    expected = -np.sort(-cosines, axis=1)[:, :NEAREST]
    assert nearest_others(rows) == pytest.approx(expected, abs=1e-5)


def test_four_people_have_too_few_others() -> None:
    assert nearest_others(units(4, 0)) is None
    assert nearest_others(units(0, 0)) is None


def test_a_large_roster_is_compared_with_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = units(300, 3)
    monkeypatch.setattr("edge.gallery._MOST", 100)
    cosines = rows.astype(float) @ rows[::3].astype(float).T
    cosines[np.arange(0, 300, 3), np.arange(100)] = -1.0
    expected = -np.sort(-cosines, axis=1)[:, :NEAREST]
    assert nearest_others(rows) == pytest.approx(expected, abs=1e-5)


def test_the_likeness_of_a_match() -> None:
    """Of the face, third and fourth of all; of the person, second and third of the others."""
    rows, probe = units(40, 5), units(1, 6)[0]
    near = nearest_others(rows)
    match = Gallery([f"{n:032x}" for n in range(40)], rows, near).search(probe)
    assert match is not None
    assert near is not None
    cosines = np.sort(rows @ probe)[::-1]
    assert match.runner_up == pytest.approx(float(cosines[1]))
    person = near[int(match.person, 16), 1:3].mean()
    assert match.likeness == pytest.approx(float(cosines[2:4].mean() + person))
    unknown = gallery(rows).search(probe)
    assert unknown is not None
    assert unknown.likeness is None


def test_an_empty_gallery_knows_nobody() -> None:
    assert gallery(units(0, 0)).search(units(1, 1)[0]) is None


def test_one_person_has_no_runner_up() -> None:
    rows = units(1, 0)
    match = gallery(rows).search(rows[0])
    assert match is not None
    assert match.similarity == pytest.approx(1.0)
    assert match.runner_up is None
    assert match.margin is None


def test_a_search_leaves_the_gallery_as_it_was() -> None:
    rows = units(20, 0)
    everyone = gallery(rows)
    for row in rows:
        match = everyone.search(row)
        assert match is not None
        assert 0.999 < match.similarity <= 1.0
        assert everyone.search(row) == match


def test_photos_are_fused_to_one_vector_between_them() -> None:
    photos = units(3, 0)
    fused = mean_template(photos)
    assert np.linalg.norm(fused) == pytest.approx(1.0)
    assert (photos @ fused > 0.3).all()
    np.testing.assert_allclose(mean_template(photos[:1]), photos[0], atol=1e-6)
