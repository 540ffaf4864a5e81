from senyum_central.ingest.ingestor import LruSet


def test_only_the_newest_are_remembered() -> None:
    recent: LruSet[int, None] = LruSet(3)
    assert all(recent.put(key, None) for key in range(4))
    assert recent.put(0, None), "the oldest was forgotten"
    assert [recent.put(key, None) for key in (2, 3)] == [False, False]


def test_what_comes_again_is_young_again() -> None:
    recent: LruSet[str, None] = LruSet(2)
    for key in ("a", "b", "a", "c"):
        recent.put(key, None)
    assert not recent.put("a", None)
    assert recent.put("b", None)


def test_another_value_is_news() -> None:
    recent: LruSet[str, int] = LruSet(2)
    assert [recent.put("a", value) for value in (1, 1, 2, 2, 1)] == [True, False, True, False, True]
