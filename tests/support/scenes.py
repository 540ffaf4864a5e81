"""The rendered scenes and attacks of the laboratory, for tests.

They stay in the laboratory because its benchmarks, its evaluation and the demo show them too. Tests
import them from here.
"""

from senyum_lab.attacks.display import displayed, streamed
from senyum_lab.attacks.paper import printed
from senyum_lab.bench.scenes import FPS, SCENES, SIZE, SceneRenderer, record

__all__ = [
    "FPS",
    "SCENES",
    "SIZE",
    "SceneRenderer",
    "displayed",
    "printed",
    "record",
    "streamed",
]
