"""The benchmark of the receiver stores every event that it counts."""

import pytest

from senyum_lab.bench import receive
from senyum_lab.servers.postgres import program

EVENTS = 2000  # fewer are stored faster than one can count


@pytest.mark.broker
@pytest.mark.slow
def test_without_postgresql_the_rest_is_measured() -> None:
    found = receive.measure(events=EVENTS, postgres=False)
    assert found["received_per_s"].keys() == {"sqlite"}


@pytest.mark.broker
@pytest.mark.slow
def test_both_databases_are_measured() -> None:
    if program("initdb") is None:
        pytest.skip("needs PostgreSQL: sudo apt install postgresql")
    found = receive.measure(events=EVENTS)
    assert found["received_per_s"].keys() == {"sqlite", "postgresql"}
    assert all(rate > 0 for rate in found["received_per_s"].values())
    assert all(spent > 0 for spent in found["received_cpu_us"].values())
