"""Lays out what the emulated Raspberry Pi boots from: run as tree.py DEBIAN-ROOT CACHE OUT.

`OUT/initrd` holds Python of Debian's arm64, lgpio, the packages that our pins need, by the lock's
digests, and this project's own pins. `OUT/pi3.dtb` is the kernel's device tree of a Raspberry Pi 3.
"""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

from deb_building import RELEASES, REPOSITORY, Target, wheels
from packaging.utils import canonicalize_name

TARGET = Target(RELEASES["bookworm"], "arm64")
PACKAGES = {"gpiozero", "numpy", "pydantic-settings"}
HERE = Path(__file__).parent
# Of Debian's root: what Python needs to run. The kernel's own modules are not needed.
KEPT = [
    "lib/aarch64-linux-gnu",
    "lib/ld-linux-aarch64.so.1",
    "usr/bin/python3.11",
    "usr/lib/python3.11",
    "usr/lib/aarch64-linux-gnu",
    "usr/share/zoneinfo",
]
LGPIO = ("--platform=manylinux_2_34_aarch64", "--python-version=3.11", "--implementation=cp")
# What a boot loader would have written into the tree: a02082 is a Raspberry Pi 3 B, and without a
# seed the kernel waits for entropy.
BOOT_LOADER = (("/system", "linux,revision", "a02082"), ("/chosen", "rng-seed", "1 2 3 4 5 6 7 8"))


def main() -> None:
    debian, cache, out = (Path(word) for word in sys.argv[1:])
    root = out / "root"
    shutil.rmtree(root, ignore_errors=True)
    for name in KEPT:
        source, to = debian / name, root / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            to.symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, to, symlinks=True)
        else:
            shutil.copy2(source, to)
    for folder in ("proc", "sys", "dev", "run", "tmp"):
        (root / folder).mkdir(exist_ok=True)
    fetched = wheels.fetch(TARGET, cache)
    named = {str(canonicalize_name(wheels.metadata(w)["Name"])): w for w in fetched}
    stated = {n: wheels.metadata(w).get_all("Requires-Dist") or [] for n, w in named.items()}
    names = wheels.needed(PACKAGES, stated, TARGET)
    site = root / "opt/site"
    site.mkdir(parents=True)
    wheels.install(TARGET, [w for n, w in named.items() if n in names], site)
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--require-hashes"]
    pip += [
        "--only-binary=:all:",
        *LGPIO,
        "--target",
        str(site),
        "-r",
        str(HERE / "requirements.txt"),
    ]
    subprocess.run(pip, check=True)
    shutil.copytree(
        REPOSITORY / "edge", site / "edge", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("guest.py", "plan.py"):
        shutil.copy(HERE / name, site / name)
    (root / "init").write_text(
        "#!/usr/bin/python3.11\nimport sys\nsys.path.insert(0, '/opt/site')\nimport guest\n"
    )
    (root / "init").chmod(0o755)
    names_of_files = subprocess.run(
        ["find", ".", "-print0"], cwd=root, check=True, capture_output=True
    ).stdout
    archive = subprocess.run(
        ["cpio", "--null", "--create", "--format=newc", "--quiet"],
        cwd=root,
        input=names_of_files,
        check=True,
        capture_output=True,
    ).stdout
    (out / "initrd").write_bytes(gzip.compress(archive, 1))
    tree = out / "pi3.dtb"
    (source,) = debian.glob("usr/lib/linux-image-*/broadcom/bcm2837-rpi-3-b.dtb")
    shutil.copy(source, tree)
    for node, name, value in BOOT_LOADER:
        subprocess.run(["fdtput", "-p", "-t", "x", tree, node, name, *value.split()], check=True)
    (kernel,) = debian.glob("boot/vmlinuz-*")
    shutil.copy(kernel, out / "kernel")


if __name__ == "__main__":
    main()
