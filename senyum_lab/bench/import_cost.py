"""Measure what each dependency of the unit adds to a bare Python process."""

import subprocess
import sys

MODULES = {
    "tflite-runtime / ai-edge-litert": "edge.inference.models",
    "numpy": "numpy",
    "pillow": "PIL.Image",
    "gpiozero": "gpiozero",
    "paho-mqtt": "paho.mqtt.client",
    "pydantic-settings": "pydantic_settings",
    "cryptography": "cryptography.hazmat.primitives.ciphers.aead",
    "joserfc": "joserfc.jws",
    "uuid6": "uuid6",
    "rich": "rich.console",
    "the daemon": "edge.daemon",
}
PROGRAM = """
import time
began = time.perf_counter()
{statement}
spent = time.perf_counter() - began
for line in open("/proc/self/status"):
    if line.startswith("VmRSS"):
        print(spent, int(line.split()[1]) / 1024)
"""


def measure(module: str) -> tuple[float, float]:
    """Return the seconds and resident MB of a new Python that imports `module`; best of three."""
    statement = f"import {module}" if module else "pass"
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    return min(float(run[0]) for run in runs), min(float(run[1]) for run in runs)


def main() -> None:
    """Print a table in Markdown."""
    _, bare = measure("")
    print(f"| package | seconds | MB above a bare Python ({bare:.0f} MB) |\n| --- | --- | --- |")
    for package, module in MODULES.items():
        seconds, resident = measure(module)
        print(f"| {package} | {seconds:.2f} | {resident - bare:.0f} |")


if __name__ == "__main__":
    main()
