"""The private broker and database servers, for tests.

They are part of the laboratory, which is installed with the product, because its benchmarks,
simulations and fuzzers start such servers too. Tests import them from here.
"""

from senyum_lab.servers.mosquitto import PrivateBroker, free_port
from senyum_lab.servers.postgres import PrivatePostgres

__all__ = ["PrivateBroker", "PrivatePostgres", "free_port"]
