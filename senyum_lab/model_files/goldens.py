"""Write models/goldens.toml, the expected outputs for edge/appliance/doctor/model_selfcheck.py."""

import sys

import tomlkit

from edge.appliance.doctor.model_selfcheck import FILE, differences, figures
from edge.inference.models import Models, shipped

SHARE = 2e-3  # of the largest figure: other machines add in another order
STEP = 0.065  # of an int8 output, the largest of ours


def main() -> int:
    """Write the file, or with --check list its stale parts; return the exit status."""
    models = Models()
    if sys.argv[1:] == ["--check"]:
        stale = [name for name, same in differences(models).items() if not same]
        print(f"stale: {', '.join(stale)}" if stale else "up to date")
        return int(bool(stale))
    content = {}
    for name, digest in models.digests().items():
        network = models.open(name)
        least = STEP if network.spec.input_dtype == "uint8" else 0.0
        found = figures(network)
        content[name] = {
            "sha256": digest,
            "figures": [[float(f"{each:.6g}") for each in output] for output in found],
            "room": [max(SHARE * max(map(abs, output)), least) for output in found],
        }
    header = "# Written by scripts/write_goldens.\n\n"
    (shipped() / FILE).write_text(header + tomlkit.dumps(content), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
