"""The quick rows of the table of faults; tests/rigs/trials/run goes through all of them."""

from pathlib import Path

import pytest
from private_servers import PrivateBroker
from trial_site import Pictures, Site
from trial_table import FAULTS, QUICK, put_to


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures.make()


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_fault_is_shown_mended_and_loses_nothing(
    name: str, pictures: Pictures, broker: PrivateBroker, tmp_path: Path
) -> None:
    with Site(tmp_path / "site", pictures, broker) as site:
        put_to(FAULTS[name], site)
