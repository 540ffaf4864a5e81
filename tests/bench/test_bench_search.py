from senyum_lab.bench.search import measure


def test_the_search_bench_measures_what_it_names() -> None:
    figures = measure()
    assert list(figures) == ["300", "7000", "100000"]
    assert 0 < figures["300"] < figures["7000"] < figures["100000"]
