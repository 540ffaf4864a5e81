from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge.camera import open_camera
from edge.capture.replay import ReplayCamera
from edge.errors import CameraStalled, EndOfReplay, ReplayError
from edge.images import letterbox, shrink
from edge.settings import CameraSettings
from edge.types import Frame

FACES = Path(__file__).parents[1] / "faces"
WIDTH, HEIGHT = 320, 240
FPS = 10.0
MS = 1_000_000


Writer = Callable[[Path, list[int]], None]


class StoppedClock:
    """Moves only when somebody sleeps, or when the test says so."""

    def __init__(self) -> None:
        self.now = 5_000 * MS
        self.slept: list[float] = []

    def monotonic_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * 1e9)


def replay(
    path: Path, clock: StoppedClock | None = None, *, loop: bool = False, fps: float = FPS
) -> ReplayCamera:
    settings = CameraSettings(
        driver="replay",
        replay=path,
        replay_loop=loop,
        fps=fps,
        main_width=WIDTH,
        main_height=HEIGHT,
        lores_width=80,
        lores_height=64,
    )
    return ReplayCamera(settings, clock or StoppedClock())


def grey(level: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five grey photos, level 10 to 50, whose names do not sort in the order of writing."""
    for level in (50, 20, 40, 10, 30):
        grey(level).save(tmp_path / f"{level}.png")
    (tmp_path / "notes.txt").write_text("not a photo")
    return tmp_path


def level(frame: Frame) -> int:
    return round(float(frame.main.y.mean()))


def test_photos_play_in_order_of_their_names_one_a_frame(photos: Path) -> None:
    clock = StoppedClock()
    start = clock.now
    camera = replay(photos, clock)

    frames = [camera.read(1.0) for _ in range(5)]

    assert [level(frame) for frame in frames] == [10, 20, 30, 40, 50]
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.captured_ns - start for frame in frames] == [n * 100 * MS for n in range(5)]
    assert clock.slept == [0.1] * 4
    with pytest.raises(EndOfReplay, match="over"):
        camera.read(1.0)


def test_pictures_have_the_sizes_of_the_settings(photos: Path) -> None:
    frame = replay(photos).read(1.0)

    assert frame.main.y.shape == (HEIGHT, WIDTH)
    assert frame.main.u.shape == frame.main.v.shape == (HEIGHT // 2, WIDTH // 2)
    assert frame.lores.y.shape == (64, 80)
    assert frame.lores.u.shape == frame.lores.v.shape == (32, 40)
    assert frame.main.y.dtype == frame.lores.v.dtype == np.uint8


def test_a_late_reader_misses_frames_as_with_a_real_camera(photos: Path) -> None:
    clock = StoppedClock()
    camera = replay(photos, clock)
    camera.read(1.0)

    clock.now += 350 * MS
    frame = camera.read(1.0)

    assert (frame.number, level(frame)) == (3, 40)
    assert clock.slept == []
    assert camera.read(1.0).number == 4


def test_a_photo_that_nobody_saw_is_not_read(photos: Path) -> None:
    (photos / "20.png").write_bytes(b"damaged")
    clock = StoppedClock()
    camera = replay(photos, clock)
    camera.read(1.0)

    clock.now += 250 * MS

    assert level(camera.read(1.0)) == 30


def test_a_loop_begins_again_and_keeps_counting(photos: Path) -> None:
    camera = replay(photos, loop=True)

    frames = [camera.read(1.0) for _ in range(12)]

    assert [level(frame) for frame in frames] == [10, 20, 30, 40, 50] * 2 + [10, 20]
    assert [frame.number for frame in frames] == list(range(12))


def test_a_read_waits_no_longer_than_its_timeout(photos: Path) -> None:
    clock = StoppedClock()
    camera = replay(photos, clock)
    camera.read(1.0)

    with pytest.raises(CameraStalled, match="due"):
        camera.read(0.04)
    assert clock.slept == [0.04]

    assert camera.read(0.07).number == 1
    assert clock.slept == [0.04, pytest.approx(0.06)]


def test_a_closed_replay_is_over(photos: Path) -> None:
    camera = replay(photos, loop=True)
    camera.read(1.0)
    camera.close()
    camera.close()

    with pytest.raises(EndOfReplay):
        camera.read(1.0)


def test_links_to_one_photo_are_converted_once(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    grey(90).save(tmp_path / "one.png")
    for number in range(3):
        (tmp_path / "held" / f"{number}.png").symlink_to(tmp_path / "one.png")
    camera = replay(tmp_path / "held")

    first, second, third = (camera.read(1.0) for _ in range(3))

    assert first.main is second.main is third.main
    assert first.lores is third.lores


def test_the_exif_orientation_is_respected(tmp_path: Path) -> None:
    """Orientation 6: to be turned clockwise, so what is stored at the right is the lower half."""
    sideways = Image.new("RGB", (HEIGHT, WIDTH), "black")
    sideways.paste("white", (HEIGHT // 2, 0, HEIGHT, WIDTH))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "held.jpg", exif=exif, quality=95)

    luma = replay(tmp_path).read(1.0).main.y

    assert luma[: HEIGHT // 2 - 8].max() < 8
    assert luma[HEIGHT // 2 + 8 :].min() > 247


def test_a_wide_photo_is_fitted_between_black_bars(tmp_path: Path) -> None:
    grey(200, (640, 240)).save(tmp_path / "wide.png")

    main = replay(tmp_path).read(1.0).main

    assert (main.y[:60] == 0).all()
    assert (main.y[62:178] == 200).all()
    assert (main.y[180:] == 0).all()
    assert (main.u == 128).all()
    assert (main.v == 128).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_photos_of_every_mode_can_be_shown(tmp_path: Path, mode: str) -> None:
    photo = grey(255).convert(mode) if mode != "I;16" else Image.new("I;16", (64, 64), 65535)
    photo.save(tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png"))

    assert replay(tmp_path).read(1.0).main.y.max() > 250


@pytest.fixture(scope="module")
def face() -> Image.Image:
    with Image.open(FACES / "obama.jpg") as photo:
        return photo.convert("RGB").crop((40, 40, 40 + WIDTH, 40 + HEIGHT))


def pillow_planes(image: Image.Image) -> tuple[NDArray[np.float64], ...]:
    """Y as Pillow converts it, chroma as the mean of each 2 x 2 pixels."""
    y, u, v = np.moveaxis(np.asarray(image.convert("YCbCr")), 2, 0)
    mean = [c.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(1, 3)) for c in (u, v)]
    return y.astype(float), *mean


def test_the_conversion_is_pillows_with_box_averaged_chroma(face: Image.Image) -> None:
    picture = letterbox(face, WIDTH, HEIGHT)

    y, u, v = pillow_planes(face)
    assert np.array_equal(picture.y, y)
    assert np.abs(picture.u - u).max() <= 0.5
    assert np.abs(picture.v - v).max() <= 0.5


def test_a_jpeg_keeps_its_colours(face: Image.Image, tmp_path: Path) -> None:
    """It is decoded to YCbCr directly, which must come to the same."""
    face.save(tmp_path / "face.jpg", quality=95)
    with Image.open(tmp_path / "face.jpg") as photo:
        y, u, v = pillow_planes(photo.convert("RGB"))

    main = replay(tmp_path).read(1.0).main

    for plane, by_way_of_rgb in zip((main.y, main.u, main.v), (y, u, v), strict=True):
        assert np.percentile(np.abs(plane - by_way_of_rgb), 99) <= 2  # RGB clips what it cannot


def test_the_small_picture_is_the_mean_of_the_large_one(face: Image.Image) -> None:
    small = shrink(letterbox(face, WIDTH, HEIGHT), WIDTH // 4, HEIGHT // 4)

    y = np.asarray(face.convert("YCbCr"))[:, :, 0]
    mean = y.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))
    assert np.abs(small.y - mean).max() <= 1.0  # rounded once a direction
    assert small.u.shape == (HEIGHT // 8, WIDTH // 8)


def write_gif(path: Path, levels: list[int], duration_ms: int) -> None:
    first, *rest = (grey(value) for value in levels)
    first.save(path, save_all=True, append_images=rest, duration=duration_ms)


def video_frame(image: Image.Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")


def write_video(path: Path, levels: list[int], fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 4_000_000
        for value in levels:
            container.mux(stream.encode(video_frame(grey(value))))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("show.gif", lambda path, levels: write_gif(path, levels, 50)),
        ("show.mp4", lambda path, levels: write_video(path, levels, 20)),
        ("show.mkv", lambda path, levels: write_video(path, levels, 20)),
    ],
)
class TestMoving:
    """20 pictures a second, in whatever container."""

    LEVELS = (40, 60, 80, 100, 120, 140, 160, 180)

    def levels(self, folder: Path, name: str, write: Writer, fps: float) -> list[int]:
        write(folder / name, list(self.LEVELS))
        camera = replay(folder / name, fps=fps)
        seen: list[int] = []
        with suppress(EndOfReplay):
            while len(seen) < 100:
                seen.append(level(camera.read(1.0)))
        camera.close()
        return seen

    def test_at_its_own_rate_every_picture_is_shown(
        self, tmp_path: Path, name: str, write: Writer
    ) -> None:
        assert self.levels(tmp_path, name, write, 20.0) == pytest.approx(self.LEVELS, abs=3)

    def test_at_half_its_rate_every_second_one_is(
        self, tmp_path: Path, name: str, write: Writer
    ) -> None:
        assert self.levels(tmp_path, name, write, 10.0) == pytest.approx(self.LEVELS[::2], abs=3)

    def test_at_twice_its_rate_each_is_shown_twice(
        self, tmp_path: Path, name: str, write: Writer
    ) -> None:
        seen = self.levels(tmp_path, name, write, 40.0)
        assert seen == pytest.approx(np.repeat(self.LEVELS, 2), abs=3)

    def test_it_loops(self, tmp_path: Path, name: str, write: Writer) -> None:
        write(tmp_path / name, [40, 80])
        camera = replay(tmp_path / name, loop=True, fps=20.0)
        seen = [level(camera.read(1.0)) for _ in range(5)]
        assert seen == pytest.approx([40, 80, 40, 80, 40], abs=3)

    def test_cut_short_it_is_named(self, tmp_path: Path, name: str, write: Writer) -> None:
        write(tmp_path / name, [40] * 8)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:20])
        with pytest.raises(ReplayError, match=rf"{name}: cannot be read as a picture"):
            replay(tmp_path / name).read(1.0)


def test_a_video_has_the_colours_of_its_frames(face: Image.Image, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "face.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.mux(stream.encode(video_frame(face)))
        container.mux(stream.encode(None))

    main = replay(tmp_path / "face.mkv").read(1.0).main

    for plane, of_face in zip((main.y, main.u, main.v), pillow_planes(face), strict=True):
        assert np.abs(plane - of_face).mean() < 1.5


@pytest.mark.parametrize("damage", [b"", b"no picture at all", "half"])
def test_a_damaged_photo_is_named_when_its_turn_comes(photos: Path, damage: bytes | str) -> None:
    photo = photos / "20.png"
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    Image.fromarray(noise).save(photo)
    photo.write_bytes(damage if isinstance(damage, bytes) else photo.read_bytes()[:20_000])
    camera = replay(photos)
    camera.read(1.0)

    with pytest.raises(
        ReplayError, match=r"20\.png: (the file is empty|is not an image|cannot be decoded)"
    ):
        camera.read(1.0)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"nowhere: no such folder") as caught:
        replay(tmp_path / "nowhere")
    assert caught.value.exit_status == 2


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a photo")
    with pytest.raises(ReplayError, match=r"no photos in this folder; .*\.jpg"):
        replay(tmp_path)


def test_the_settings_choose_the_replay(photos: Path) -> None:
    camera = open_camera(CameraSettings(driver="replay", replay=photos))
    assert isinstance(camera, ReplayCamera)
    assert level(camera.read(1.0)) == 10
