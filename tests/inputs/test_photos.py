"""Photos as phones, scanners and office programs write them, and as bad cards leave them."""

import os
import struct
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from image_files import Pixels, exif, jpeg_of_a_phone, png, tiff, turned, with_exif
from PIL import Image

from edge.errors import PhotoError
from edge.images import eight_bit, open_photo, orientation, read_photo

FACES = Path(__file__).parent.parent / "faces"
Order = Literal["<", ">"]
inputs = settings.get_profile("inputs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


def read(folder: Path, content: bytes) -> Image.Image | None:
    """Return the image, or None where it was refused as it should be."""
    path = folder / os.fsdecode(b"Foto Andr\xe9\x1b.jpg")
    path.write_bytes(content)
    said = ""
    try:
        image = read_photo(path, 2048)
    except PhotoError as error:
        said = str(error)
    if said:
        assert said.isprintable()
        assert said.startswith(f"{folder}/Foto Andr\\xe9\\x1b.jpg: ")
        assert len(said) < len(str(folder)) + 400
        return None
    assert image.mode in {"L", "RGB", "YCbCr"}
    assert max(image.size) <= 4096
    return image


def pixels_of(image: Image.Image | None) -> Pixels:
    assert image is not None
    return np.asarray(image.convert("RGB")).astype(int)


# --- EXIF ------------------------------------------------------------------------------------

sides = st.integers(2, 9)
seeds = st.integers(0, 2**32 - 1)
orders = st.sampled_from("<>")
# What Pillow looks at when it reads or writes EXIF, and anything else.
_SEEN = [0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0132, 0x013B, 0x0213, 0x02BC, 0x8298]
_POINTERS = [0x8769, 0x8825, 0xA005, 0x9286, 0x927C, 0xC4A5]
tags = st.sampled_from([*_SEEN, *_POINTERS]) | st.integers(0, 0xFFFF)
values = st.binary(min_size=4, max_size=4)
entries = st.dictionaries(
    tags, st.tuples(st.integers(0, 14), st.integers(0, 40) | st.integers(0, 2**32 - 1), values),
    max_size=12,
)  # fmt: skip


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, int]:
    """Draw an EXIF block that a phone or an editor may write, and the orientation it states."""
    order = draw(orders)
    listed = draw(entries)
    stated = draw(st.none() | st.integers(0, 9) | st.integers(0, 65535))
    if stated is not None:
        kind, form = draw(st.sampled_from([(3, "HH"), (4, "I"), (8, "HH"), (9, "I")]))
        value = struct.pack(order + form, *([stated, 0][: len(form)]))
        listed = {**listed, 0x0112: (kind, 1, value)}
    else:
        listed.pop(0x0112, None)
    upright = stated if stated is not None and 1 <= stated <= 8 else 1
    return exif(listed, order, draw(st.binary(max_size=80))), upright


def noise(rows: int, columns: int, seed: int, channels: int = 3, most: int = 255) -> Pixels:
    return np.random.default_rng(seed).integers(0, most + 1, (rows, columns, channels))


@inputs
@given(blocks(), st.sampled_from(["JPEG", "PNG", "WEBP"]), sides, sides, seeds)
def test_a_photo_is_turned_upright_whatever_else_its_exif_says(
    folder: Path, block: tuple[bytes, int], kind: str, rows: int, columns: int, seed: int
) -> None:
    content, stated = block
    pixels = noise(rows, columns, seed).astype(np.uint8)
    photo = with_exif(pixels, kind, content)
    stored = pixels
    if kind == "JPEG":
        out = BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=95)
        with Image.open(out) as plain:
            stored = np.asarray(plain)
    assert np.array_equal(pixels_of(read(folder, photo)), turned(stored, stated))


@inputs
@given(blocks(), sides, seeds, st.booleans())
def test_exif_as_imagemagick_puts_it_into_a_png(
    folder: Path, block: tuple[bytes, int], side: int, seed: int, whole: bool
) -> None:
    content, stated = block
    text = (b"Exif\0\0" + content).hex()
    lines = [text[at : at + 72] for at in range(0, len(text), 72)]
    profile = "\n".join(["", "exif", f"{len(content) + 6:8}", *lines, "" if whole else "x"])
    chunk = b"Raw profile type exif\0" + profile.encode()
    pixels = noise(side, 3, seed).astype(np.uint8)
    image = read(folder, png(pixels, 2, 8, [(b"tEXt", chunk)]))
    assert np.array_equal(pixels_of(image), turned(pixels, stated if whole else 1))


@inputs
@given(st.binary(max_size=300) | blocks().map(lambda block: block[0]), st.data())
def test_damaged_exif_never_costs_a_photo(folder: Path, block: bytes, data: st.DataObject) -> None:
    block = block[: data.draw(st.integers(0, len(block)))]
    pixels = noise(4, 6, 1).astype(np.uint8)
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"]))
    image = read(folder, with_exif(pixels, kind, block))
    assert image is not None
    assert image.size == ((6, 4) if orientation(block) < 5 else (4, 6))


@inputs
@given(entries, st.integers(0, 9), orders, seeds)
def test_a_tiff_is_turned_upright_whatever_it_points_at(
    folder: Path, more: dict[int, Any], stated: int, order: Order, seed: int
) -> None:
    # Tags that say how the pixels lie are the file's own.
    more = {tag: entry for tag, entry in more.items() if tag > 0x8000}
    more[0x0112] = (3, 1, struct.pack(order + "HH", stated, 0))
    pixels = noise(5, 3, seed).astype(np.uint8)
    image = read(folder, tiff(pixels, order, {0x8825: (4, 1, b"\xff" * 4), **more}))
    assert np.array_equal(pixels_of(image), turned(pixels, stated if 1 <= stated <= 8 else 1))


@inputs
@given(st.binary(max_size=200), st.sampled_from([b"", b"Exif\0\0"]), orders)
def test_whatever_stands_for_exif_there_is_an_orientation(
    content: bytes, start: bytes, order: str
) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    assert 1 <= orientation(start + mark + content) <= 8
    assert orientation(content) == 1 or content[:4] in {b"II*\0", b"MM\0*"}


@pytest.mark.parametrize("stated", range(1, 9))
def test_a_phone_in_the_south_held_any_way(folder: Path, stated: int) -> None:
    with Image.open(FACES / "obama.jpg") as portrait:
        photo = jpeg_of_a_phone(portrait, stated)
    path = folder / "phone.jpg"
    path.write_bytes(photo)
    with Image.open(path) as stored:
        expected = turned(np.asarray(stored), stated)
    assert np.array_equal(np.asarray(read_photo(path, 2048)), expected)


# --- bit depths and transparency ---------------------------------------------------------------


def over_white(colour: Pixels, alpha: Pixels) -> Pixels:
    return colour * alpha + 255 * (1 - alpha)


@inputs
@given(
    st.sampled_from(
        [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]
    ),
    sides,
    sides,
    seeds,
)
def test_every_depth_of_a_png_is_scaled_to_8_bits(
    folder: Path, depth: tuple[int, int], rows: int, columns: int, seed: int
) -> None:
    colour, bits = depth
    most = 2**bits - 1
    pixels = noise(rows, columns, seed, {0: 1, 2: 3, 4: 2, 6: 4}[colour], most)
    expected = pixels * 255 / most
    if colour >= 4:
        expected = over_white(expected[:, :, :-1], expected[:, :, -1:] / 255)
    image = read(folder, png(pixels, colour, bits))
    # Pillow cuts off colour and alpha, and rounds their sum.
    assert np.abs(pixels_of(image) - expected).max() <= 2.5


@inputs
@given(st.sampled_from([1, 2, 4, 8]), st.booleans(), sides, sides, seeds)
def test_a_palette_is_looked_up_and_its_transparency_is_paper(
    folder: Path, bits: int, has_alpha: bool, rows: int, columns: int, seed: int
) -> None:
    colours = noise(2**bits, 3, seed, 1)[:, :, 0]
    alpha = noise(2**bits, 1, seed, 1)[:, 0, 0] if has_alpha else np.full(2**bits, 255)
    pixels = noise(rows, columns, seed + 1, 1, 2**bits - 1)
    chunks = [(b"PLTE", colours.astype(np.uint8).tobytes())]
    if has_alpha:
        chunks.append((b"tRNS", alpha.astype(np.uint8).tobytes()))
    index = pixels[:, :, 0]
    expected = over_white(colours[index].astype(float), alpha[index][:, :, None] / 255)
    image = read(folder, png(pixels, 3, bits, chunks))
    assert np.abs(pixels_of(image) - expected).max() <= 1.5


@inputs
@given(st.sampled_from(["u1", "u2", "f4"]), st.sampled_from([1, 3]), orders, sides, sides, seeds)
def test_every_depth_of_a_tiff_is_scaled_to_8_bits(
    folder: Path, kind: str, channels: int, order: Order, rows: int, columns: int, seed: int
) -> None:
    most = 65535 if kind == "u2" else 255
    pixels = noise(rows, columns, seed, 1 if kind == "f4" else channels, most)
    stored = pixels / 255 if kind == "f4" else pixels
    image = read(folder, tiff(stored.astype(kind), order))
    assert np.abs(pixels_of(image) - pixels * 255 / most).max() <= 1


@inputs
@given(
    st.sampled_from(["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "F", "I;16"]), seeds
)
def test_every_mode_of_an_image_becomes_8_bits_by_one_rule(mode: str, seed: int) -> None:
    grey = Image.fromarray(noise(6, 5, seed)[:, :, 0].astype(np.uint8))
    image = eight_bit(grey.convert(mode))
    assert image.mode in {"L", "RGB", "YCbCr"}
    if mode not in {"1", "P", "I;16"}:  # two levels, a palette of its own, other levels
        assert np.abs(np.asarray(image.convert("L")).astype(int) - np.asarray(grey)).max() <= 2


@pytest.mark.parametrize("levels", [[0, np.nan, 1], [0, np.inf, 1], [-9, 0, 1], [0, 0.5, 1]])
def test_what_is_not_a_level_is_black(levels: list[float]) -> None:
    pixels = np.array([levels], np.float32)
    dark = np.asarray(eight_bit(Image.fromarray(pixels)))
    assert (dark[0, 0], dark[0, 2]) == (0, 255)


def test_16_bits_that_are_scanned_as_a_negative(folder: Path) -> None:
    pixels = np.array([[[0], [65535], [257 * 100]]], "<u2")
    image = read(folder, tiff(pixels, "<", {262: (3, 1, b"\0\0\0\0")}))
    assert pixels_of(image)[0, :, 0].tolist() == [255, 0, 155]


def test_12_bits_are_12_bits(folder: Path) -> None:
    content = tiff(np.zeros((2, 2, 1), "<u2"), "<", {258: (3, 1, b"\x0c\0\0\0")})
    # Two pixels of 12 bits in three bytes: 4095 and 2048.
    content = content[:8] + b"\xff\xf8\x00" * 2 + content[14:]
    assert pixels_of(read(folder, content))[0, :, 0].tolist() == [255, 128]


# --- kinds -------------------------------------------------------------------------------------


def saved(kind: str, **more: Any) -> bytes:
    out = BytesIO()
    pixels = noise(24, 32, 7).astype(np.uint8)
    if kind == "MPO":
        more = {"save_all": True, "append_images": [Image.new("RGB", (32, 24), "red")]}
    Image.fromarray(pixels).resize((32, 24), Image.Resampling.BOX).save(out, kind, **more)
    return out.getvalue()


two = {"save_all": True, "append_images": [Image.new("RGB", (32, 24), "red")]}
GOOD = {
    "jpeg": saved("JPEG"),
    "progressive jpeg": saved("JPEG", progressive=True),
    "mpo": saved("MPO"),
    "png": saved("PNG"),
    "animated png": saved("PNG", **two),
    "webp": saved("WEBP"),
    "animated webp": saved("WEBP", **two),
    "bmp": saved("BMP"),
    "gif": saved("GIF", **two),
    "tiff": saved("TIFF"),
    "lzw tiff": saved("TIFF", compression="tiff_lzw"),
    "deflate tiff": saved("TIFF", compression="tiff_adobe_deflate"),
    "jpeg tiff": saved("TIFF", compression="jpeg"),
    "several pages": saved("TIFF", **two),
}


@pytest.mark.parametrize("kind", GOOD)
def test_the_first_image_of_each_kind_is_used(folder: Path, kind: str) -> None:
    expected = noise(24, 32, 7)
    image = read(folder, GOOD[kind])
    assert image is not None
    assert image.size == (32, 24)
    assert np.abs(pixels_of(image).mean((0, 1)) - expected.mean((0, 1))).max() < 12


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty; copy it again"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC image, as iPhones take them, which cannot be"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "is a HEIF image"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "is an AVIF image"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "is a video"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"PK\3\4....", "is an archive or an office document"),
        (b"<svg xmlns=''/>", "is a drawing"),
        (b"II\x2b\0\x08\0\0\0", "is a BigTIFF image"),
        (b"Dear Sir or Madam", "is not an image that can be read; save it as JPEG or PNG"),
    ],
)
def test_what_is_no_photo_is_named_with_what_to_do(folder: Path, content: bytes, says: str) -> None:
    path = folder / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(PhotoError) as refused:
        read_photo(path, 2048)
    assert says in str(refused.value)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50_000), (50_000, 1), (2, 2), (3, 40_000)])
def test_odd_shapes_are_read_or_named(folder: Path, shape: tuple[int, int]) -> None:
    path = folder / "x.png"
    Image.new("L", shape).save(path)
    if min(shape) < 2 or max(shape) // min(shape) > 1024:
        with pytest.raises(PhotoError, match=f"{path}: the image is too small; give a larger one"):
            open_photo(path)
    else:
        photo = open_photo(path)
        assert min(photo.width, photo.height) >= 2
        assert max(photo.width, photo.height) <= 2048


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG"])
def test_more_pixels_than_memory_holds_are_refused(folder: Path, kind: str) -> None:
    """The sizes are altered in the header alone: nothing is decoded."""
    content = bytearray(saved(kind))
    at, form = {
        "PNG": (16, ">II"),
        "BMP": (18, "<II"),
        "GIF": (6, "<HH"),
        "JPEG": (content.find(b"\xff\xc0") + 5, ">HH"),
        "WEBP": (26, "<HH"),
    }.get(kind, (0, ""))
    if kind == "TIFF":
        content = bytearray(
            tiff(np.zeros((1, 1, 1), "u1"), "<", {
                256: (4, 1, struct.pack("<I", 9_000)), 257: (4, 1, struct.pack("<I", 9_000)),
            })
        )  # fmt: skip
    else:
        most = 16_000 if kind == "WEBP" else 30_000
        struct.pack_into(form, content, at, most, most)
    assert read(folder, bytes(content)) is None


# --- damage ------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an image that a bad card, a cut download or an attacker left."""
    content = bytearray(GOOD[draw(st.sampled_from(sorted(GOOD)))])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content) - 1) | st.integers(0, 200))
        content[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@inputs
@given(damaged())
def test_a_damaged_file_is_read_or_named(folder: Path, content: bytes) -> None:
    read(folder, content)


@inputs
@given(
    st.sampled_from([content[:n] for content in GOOD.values() for n in (2, 4, 8, 12, 30)]),
    st.binary(max_size=400),
)
@example(b"\xff\xd8\xff\xe0\x00\x04", b"")
def test_what_only_begins_like_an_image_is_read_or_named(
    folder: Path, start: bytes, content: bytes
) -> None:
    read(folder, start + content)


@inputs
@given(st.lists(st.tuples(st.integers(0xE0, 0xEF), st.binary(max_size=60)), max_size=6))
def test_segments_that_only_describe_a_jpeg_never_cost_it(
    folder: Path, segments: list[tuple[int, bytes]]
) -> None:
    kinds = (b"JFIF\0", b"Exif\0\0", b"MPF\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"FPXR\0")
    written = b"".join(
        b"\xff" + bytes([marker]) + struct.pack(">H", len(kind + content) + 2) + kind + content
        for (marker, content), kind in zip(segments, kinds, strict=False)
    )
    assert read(folder, GOOD["jpeg"][:2] + written + GOOD["jpeg"][2:]) is not None


def test_a_damaged_tiff_is_one_error_and_nothing_on_stderr(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = BytesIO()
    Image.fromarray(noise(64, 64, 1).astype(np.uint8)).save(out, "TIFF", compression="tiff_lzw")
    content = bytearray(out.getvalue())
    content[200:400] = b"\xff" * 200
    path = folder / "damaged.tif"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match="may be damaged"):
        read_photo(path, 2048)
    assert capfd.readouterr().err == ""
