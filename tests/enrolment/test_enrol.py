import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from image_files import jpeg_of_a_phone, png
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from edge import cli
from edge.enrolment import EnrolmentPaths, EnrolmentResult, enrol
from edge.errors import PeopleError, PhotoError, RosterError, SecretError
from edge.gallery import DIMENSION
from edge.images import from_image
from edge.inference.face_analyzer import FaceAnalyzer
from edge.roster.codec import Person, stripped
from edge.roster.file import load, read, save
from edge.roster.keys import make_key, read_key
from edge.roster.people import person_id
from edge.settings import InferenceSettings

FACES = Path(__file__).parents[1] / "faces"
OBAMA, BIDEN, EILEEN = "196108042009011001", "194211202021211003", "197012121995022007"


@pytest.fixture(scope="module")
def examiner() -> FaceAnalyzer:
    return FaceAnalyzer(InferenceSettings(), photos=True)


@dataclass
class Desk:
    """A folder as a facilities person has it, and what they are told."""

    folder: Path
    examiner: FaceAnalyzer
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)

    @property
    def files(self) -> EnrolmentPaths:
        return EnrolmentPaths(
            people=self.folder / "people.csv",
            photos=self.folder / "photos",
            roster=self.folder / "roster.senyum",
            key=self.folder / "roster.key",
            org_key=self.folder / "organisation.key",
        )

    def people(self, *numbers: str, exempt: str = "no") -> None:
        lines = [f"{number},Person {n},{exempt}" for n, number in enumerate(numbers)]
        self.files.people.write_text("\n".join(["number,name,exempt", *lines]), encoding="utf-8")

    def photo(self, face: str, name: str) -> Path:
        path = self.files.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FACES / f"{face}.jpg", path)
        return path

    def enrol(
        self, *, remove_others: bool = False, yes: bool = False, answer: bool = False
    ) -> EnrolmentResult:
        self.said.clear()
        self.asked.clear()

        def ask(question: str) -> bool:
            self.asked.append(question)
            return answer

        return enrol(
            self.files,
            self.examiner,
            remove_others=remove_others,
            yes=yes,
            ask=ask,
            tell=self.said.append,
            progress=lambda seen, total: self.progress.append((seen, total)),
        )

    def enrolled(self) -> dict[str, int]:
        """Photos by person number."""
        roster = read(self.files.roster, read_key(self.files.key, "the key"))
        return {person.number: len(person.templates) for person in roster.people}

    def who(self, face: str) -> str | None:
        """The number that a unit would find for a face, whatever the threshold."""
        key = read_key(self.files.key, "the key")
        gallery = load(self.files.roster, key, self.examiner.digests["identity"])
        with Image.open(FACES / f"{face}.jpg") as image:
            match = gallery.search(self.examiner.analyze(from_image(image))[0].template)
        assert match is not None
        org_key = read_key(self.files.org_key, "the key")
        numbers = {person_id(number, org_key): number for number in self.enrolled()}
        return numbers[match.person] if match.similarity > 0.6 else None


@pytest.fixture
def desk(tmp_path: Path, examiner: FaceAnalyzer) -> Desk:
    (tmp_path / "photos").mkdir()
    return Desk(tmp_path, examiner)


@pytest.fixture
def three(desk: Desk) -> Desk:
    """Three people enrolled: one with two photos, one in a folder of their own."""
    desk.people(OBAMA, BIDEN, EILEEN)
    desk.photo("obama", f"{OBAMA}_1.jpg")
    desk.photo("obama2", f"{OBAMA} (2).jpg")
    desk.photo("biden", f"{BIDEN}.JPG")
    desk.photo("astronaut", "19701212 199502 2 007/in front of the flag.jpg")
    assert desk.enrol().complete
    return desk


def test_photos_become_people_that_a_unit_recognises(three: Desk) -> None:
    assert three.enrolled() == {OBAMA: 2, BIDEN: 1, EILEEN: 1}
    assert three.who("obama3") == OBAMA  # a photo that was not enrolled
    assert three.who("biden") == BIDEN
    assert three.progress[-1] == (3, 3)
    assert [line.partition(":")[0] for line in three.said] == [
        str(three.files.key),
        str(three.files.org_key),
    ]
    assert three.files.key.stat().st_mode & 0o777 == 0o600


def test_exempt_people_are_known_to_the_unit_by_id_alone(desk: Desk) -> None:
    desk.people(BIDEN, exempt="ya")
    desk.photo("biden", f"{BIDEN}.jpg")
    desk.enrol()
    gallery = load(desk.files.roster, read_key(desk.files.key, "the key"))
    assert gallery.exempt == {person_id(BIDEN, read_key(desk.files.org_key, "the key"))}


def test_enrolling_again_adds_and_keeps(three: Desk) -> None:
    shutil.rmtree(three.files.photos)
    newcomer = "199001012022211003"
    three.people(newcomer, BIDEN)
    three.photo("obama3", f"{newcomer}.jpg")
    result = three.enrol()
    assert three.said[0].endswith("check whose photo it is")  # the face is known already
    assert (result.version, result.enrolled, result.kept, result.left_out) == (2, 0, 1, 1)
    assert three.enrolled() == {OBAMA: 2, BIDEN: 1, EILEEN: 1}


def test_new_photos_take_the_place_of_old_ones(three: Desk) -> None:
    shutil.rmtree(three.files.photos)
    three.people(OBAMA)
    three.photo("obama3", f"{OBAMA}.jpg")
    assert three.enrol() == EnrolmentResult(
        version=2, size=3, enrolled=1, kept=0, removed=0, left_out=0, refused=0
    )
    assert three.enrolled()[OBAMA] == 1


def test_swapped_photos_can_be_mended(desk: Desk) -> None:
    desk.people(OBAMA, BIDEN)
    desk.photo("biden", f"{OBAMA}.jpg")
    desk.photo("obama", f"{BIDEN}.jpg")
    desk.enrol()
    assert desk.who("obama2") == BIDEN
    desk.photo("biden", f"{BIDEN}.jpg")
    desk.photo("obama", f"{OBAMA}.jpg")
    assert desk.enrol().complete
    assert desk.who("obama2") == OBAMA


def test_others_are_removed_only_on_request(three: Desk) -> None:
    three.people(OBAMA)
    three.photo("obama", f"{OBAMA}_1.jpg")
    assert three.enrol().removed == 0
    result = three.enrol(remove_others=True, yes=True)
    assert (result.removed, result.size, result.version) == (2, 1, 3)
    assert result.complete
    assert three.said[-2:] == [
        "not on the list: Person 1 (…003)",
        "not on the list: Person 2 (…007)",
    ]
    assert three.enrolled() == {OBAMA: 2}
    assert three.who("biden") is None


def test_more_than_a_twentieth_is_not_removed_even_if_asked(three: Desk) -> None:
    three.people(OBAMA)
    result = three.enrol(remove_others=True, answer=True)
    assert (result.removed, result.staying, result.complete) == (0, 2, False)
    assert three.enrolled() == {OBAMA: 2, BIDEN: 1, EILEEN: 1}
    assert three.asked == []
    assert three.said[-1] == (
        "2 people not removed: that is 67% of the roster; check the list, "
        "and say --yes to remove more than 5%"
    )


def crowded(desk: Desk, more: int) -> list[str]:
    """Enrol `more` invented people beside those that are there; returns their numbers."""
    key, org_key = (read_key(path, "the key") for path in (desk.files.key, desk.files.org_key))
    roster = read(desk.files.roster, key)
    numbers = [f"19700101200001{1}{serial:03}" for serial in range(1, more + 1)]
    chance = np.random.default_rng(0).standard_normal((more, 1, DIMENSION)).astype(np.float32)
    chance /= np.linalg.norm(chance, axis=2, keepdims=True)
    people = tuple(
        Person(person_id(number, org_key), number, f"Extra {number[-3:]}", False, template)
        for number, template in zip(numbers, chance, strict=True)
    )
    save(desk.files.roster, key, replace(roster, people=(*roster.people, *people)))
    return numbers


@pytest.mark.parametrize("answer", [True, False])
def test_a_few_are_removed_if_the_operator_confirms_who(three: Desk, answer: bool) -> None:
    *staying, _, _ = crowded(three, 40)
    three.people(OBAMA, BIDEN, EILEEN, *staying)
    result = three.enrol(remove_others=True, answer=answer)
    assert three.asked == ["Remove 2 people from the roster?"]
    assert "not on the list: Extra 039 (…039)" in three.said
    assert (result.removed, result.staying) == ((2, 0) if answer else (0, 2))
    assert result.complete is answer
    assert len(three.enrolled()) == (41 if answer else 43)


def add_line(desk: Desk, line: str) -> None:
    earlier = desk.files.people.read_text(encoding="utf-8")
    desk.files.people.write_text(f"{earlier}\n{line}", encoding="utf-8")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda desk: add_line(desk, '198503022010011002,"Budi,no'),
        lambda desk: add_line(desk, ",,ya"),
        lambda desk: add_line(desk, "199001012022211003,Newcomer,no"),
        lambda desk: (desk.files.photos / f"{OBAMA}_3.jpg").write_bytes(b"no picture"),
        lambda desk: desk.photo("biden", f"{OBAMA}_3.jpg"),
        lambda desk: desk.photo("biden", "198503022010011002.jpg"),
        lambda desk: desk.photo("biden", "holiday.jpg"),
        lambda desk: os.mkfifo(desk.files.photos / f"{OBAMA}_3.jpg"),
    ],
    ids=["quote", "row", "nobody", "damaged", "another", "unlisted", "name", "fifo"],
)
def test_nobody_is_removed_after_any_problem(three: Desk, spoil: Callable[[Desk], object]) -> None:
    three.people(OBAMA)
    three.photo("obama", f"{OBAMA}_1.jpg")
    spoil(three)
    result = three.enrol(remove_others=True, yes=True, answer=True)
    assert (result.removed, result.staying, result.complete) == (0, 2, False)
    assert set(three.enrolled()) == {OBAMA, BIDEN, EILEEN}
    assert any(line.startswith("2 people not removed: correct the lines") for line in three.said)


def test_a_number_can_be_corrected_in_one_go(three: Desk) -> None:
    shutil.rmtree(three.files.photos)
    corrected = f"{BIDEN[:-1]}4"
    three.people(OBAMA, EILEEN, corrected)
    three.photo("biden", f"{corrected}.jpg")
    assert not three.enrol().complete  # the face is somebody's
    assert three.enrol(remove_others=True, yes=True).complete
    assert set(three.enrolled()) == {OBAMA, EILEEN, corrected}


def test_a_line_that_cannot_be_read_leaves_its_person_as_they_are(three: Desk) -> None:
    shutil.rmtree(three.files.photos)
    three.photo("obama3", f"{OBAMA}.jpg")
    three.files.people.write_text(
        f'number,name,exempt\n{BIDEN},"Joe,no\n{OBAMA},Barack,ya\n{EILEEN},Eileen",no\n'
    )
    result = three.enrol()
    assert (result.enrolled, result.unread, result.left_out) == (1, 2, 0)
    assert [line.partition("people.csv: ")[2][:20] for line in three.said[:2]] == [
        "line 2, name: a quot",
        "line 4, name: a quot",
    ]
    key = read_key(three.files.key, "the key")
    names = {person.number: person.name for person in read(three.files.roster, key).people}
    assert names == {OBAMA: "Barack", BIDEN: "Person 1", EILEEN: "Person 2"}
    assert three.enrolled() == {OBAMA: 1, BIDEN: 1, EILEEN: 1}


def test_a_list_of_wrong_lines_alone_changes_nothing(three: Desk) -> None:
    earlier = three.files.roster.read_bytes()
    three.files.people.write_text("number,name,exempt\n1,A,no\n2,B,no\n")
    with pytest.raises(PeopleError, match="no line can be used; correct those named above"):
        three.enrol(remove_others=True, yes=True)
    assert len(three.said) == 2
    assert three.files.roster.read_bytes() == earlier


def test_a_roster_that_another_program_changed_meanwhile_is_left_alone(three: Desk) -> None:
    key = read_key(three.files.key, "the key")

    def erase(_seen: int, _total: int) -> None:
        now = read(three.files.roster, key)
        save(three.files.roster, key, replace(now, version=9, people=now.people[1:]))

    with pytest.raises(RosterError, match="another program changed it in the meantime"):
        enrol(three.files, three.examiner, tell=three.said.append, progress=erase)
    assert read(three.files.roster, key).version == 9


def test_whatever_lies_beside_good_photos_is_named_and_they_are_used(desk: Desk) -> None:
    desk.people(OBAMA, EILEEN)
    desk.photo("obama", f"{OBAMA}/a.jpg")
    desk.photo("astronaut", f"{EILEEN}.jpg")
    own = desk.files.photos / OBAMA
    os.mkfifo(own / "pipe.jpg")
    (own / "folder").mkdir()
    (own / "loop.jpg").symlink_to("loop.jpg")
    (own / "zero.jpg").symlink_to("/dev/zero")
    (own / os.fsdecode(b"Andr\xe9\n\x1b[2J.jpg")).write_bytes(b"")
    for litter in (".DS_Store", "._a.jpg", "Thumbs.db", "@eaDir", "__MACOSX"):
        (own / litter).touch()
    result = desk.enrol()
    assert (result.enrolled, result.refused, result.left_out) == (2, 5, 0)
    said = dict(line.split(": ", 1) for line in desk.said if line.startswith(f"{own}/"))
    assert {Path(path).name: why.partition(";")[0] for path, why in said.items()} == {
        r"Andr\xe9\x0a\x1b[2J.jpg": "the file is empty",
        "folder": "cannot be read: it is a folder, not a regular file",
        "loop.jpg": "cannot be read: Too many levels of symbolic links",
        "pipe.jpg": "cannot be read: it is a pipe (FIFO), not a regular file",
        "zero.jpg": "cannot be read: it is a device, not a regular file",
    }


def test_a_photo_from_a_phone_in_the_south_and_one_of_16_bits(desk: Desk) -> None:
    desk.people(OBAMA, BIDEN)
    with Image.open(FACES / "obama.jpg") as portrait:
        lying = portrait.rotate(90, expand=True)
    (desk.files.photos / f"{OBAMA}.jpg").write_bytes(jpeg_of_a_phone(lying, 6))
    with Image.open(FACES / "biden.jpg") as portrait:
        grey = np.asarray(portrait.convert("L")).astype(np.uint16) * 257
    (desk.files.photos / f"{BIDEN}.png").write_bytes(png(grey[:, :, None], 0, 16))
    assert desk.enrol().complete
    assert desk.who("obama2") == OBAMA
    assert desk.who("biden") == BIDEN


def test_earlier_photos_stay_where_no_new_one_will_do(three: Desk) -> None:
    three.people(BIDEN)
    (three.files.photos / f"{BIDEN}.JPG").write_bytes(b"no picture")
    result = three.enrol()
    assert not result.complete
    assert three.enrolled()[BIDEN] == 1
    assert three.said[-1].endswith("line 2 (…003): no new photo can be used, the earlier ones stay")


def edited(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with Image.open(path) as image:
            picture = change(image)
        picture.save(path)

    return edit


def beside(image: Image.Image) -> Image.Image:
    pair = Image.new("RGB", (2 * image.width, image.height))
    pair.paste(image, (0, 0))
    with Image.open(FACES / "biden.jpg") as other:
        pair.paste(other.resize(image.size), (image.width, 0))
    return pair


def masked(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).polygon(
        [(205, 150), (274, 150), (345, 150), (330, 230), (275, 258), (220, 230)], (160, 200, 225)
    )
    return image


def before_a_window(image: Image.Image) -> Image.Image:
    window = Image.new("RGB", image.size, "white")
    head = Image.new("L", image.size)
    ImageDraw.Draw(head).ellipse((170, 20, 380, 280), 255)
    return Image.composite(image.point([v * 2 // 5 for v in range(256)] * 3), window, head)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty; copy it again"),
        (
            lambda path: path.write_text("a letter"),
            "is not an image that can be read; save it as JPEG or PNG",
        ),
        (half, "cannot be decoded, it may be damaged (image file is truncated"),
        (edited(lambda im: im.resize((im.width // 4, im.height // 4))), "too small"),
        (edited(lambda im: im.filter(ImageFilter.GaussianBlur(8))), "blurred"),
        (edited(lambda im: ImageEnhance.Brightness(im).enhance(0.12)), "too dark"),
        (edited(lambda im: im.rotate(45)), "turned"),
        (edited(masked), "mouth or eyes are covered"),
        (edited(before_a_window), "the light comes from behind"),
        (edited(beside), "more than one face"),
        (edited(lambda im: im.crop((230, 125, 315, 200))), "the face is cut off"),
        (edited(lambda im: Image.new("RGB", im.size, "grey")), "no face was found"),
        (edited(lambda im: im.convert("L")), None),
    ],
    ids=[
        "empty",
        "text",
        "cut",
        "small",
        "blurred",
        "dark",
        "turned",
        "masked",
        "backlit",
        "two",
        "overflowing",
        "nobody",
        "grey",
    ],
)
def test_each_photo_is_judged_and_the_others_go_on(
    desk: Desk, spoil: Callable[[Path], None], says: str | None
) -> None:
    desk.people(OBAMA, EILEEN)
    spoiled = desk.photo("obama", f"{OBAMA}.jpg")
    desk.photo("astronaut", f"{EILEEN}.jpg")
    spoil(spoiled)
    result = desk.enrol()
    told = [line for line in desk.said if line.startswith(f"{spoiled}: ")]
    if says is None:
        assert result.complete
        assert not told
    else:
        assert len(told) == 1
        assert says in told[0]
        assert (result.left_out, result.refused, result.enrolled) == (1, 1, 1)
        assert desk.said[-1].startswith(f"{desk.files.people}: line 2 (…001): left out")
        assert desk.enrolled() == {EILEEN: 1}


def test_a_picture_that_unpacks_to_gigabytes_is_refused_unread(desk: Desk) -> None:
    desk.people(OBAMA, EILEEN)
    desk.photo("astronaut", f"{EILEEN}.jpg")
    Image.new("1", (20_000, 20_000)).save(desk.files.photos / f"{OBAMA}.png")
    desk.enrol()
    assert any(line.endswith("has too many pixels; scale the image down") for line in desk.said)


def test_a_photo_on_its_side_is_turned_by_its_exif(desk: Desk) -> None:
    desk.people(OBAMA)
    path = desk.photo("obama", f"{OBAMA}.jpg")
    with Image.open(path) as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held upright
        lying = image.rotate(90, expand=True)
    lying.save(path, exif=exif)
    assert desk.enrol().complete


def test_somebody_elses_face_is_refused(desk: Desk) -> None:
    desk.people(OBAMA, BIDEN)
    desk.photo("obama", f"{OBAMA}.jpg")
    taken = desk.photo("obama2", f"{BIDEN}.jpg")
    result = desk.enrol()
    assert result.left_out == 1
    assert any(
        re.match(rf"{taken}: this face is already somebody else's \(line 2, similarity 0\.8", line)
        for line in desk.said
    )


def test_one_wrong_photo_among_ones_own_is_named(desk: Desk) -> None:
    desk.people(OBAMA)
    desk.photo("obama", f"{OBAMA}_1.jpg")
    desk.photo("obama2", f"{OBAMA}_2.jpg")
    wrong = desk.photo("biden", f"{OBAMA}_3.jpg")
    result = desk.enrol()
    assert result.refused == 1
    assert any(line.startswith(f"{wrong}: is not the same person") for line in desk.said)
    assert desk.enrolled() == {OBAMA: 2}


def test_two_photos_of_two_people_are_nobodys(desk: Desk) -> None:
    desk.people(OBAMA, EILEEN)
    desk.photo("obama", f"{OBAMA}_1.jpg")
    desk.photo("biden", f"{OBAMA}_2.jpg")
    desk.photo("astronaut", f"{EILEEN}.jpg")
    result = desk.enrol()
    assert (result.left_out, result.refused) == (1, 2)
    assert any("show different people" in line for line in desk.said)


def test_the_sixth_photo_and_strays_are_named(desk: Desk) -> None:
    desk.people(OBAMA, EILEEN)
    for n in range(1, 7):
        desk.photo("obama", f"{OBAMA}-{n}.jpg")
    desk.photo("biden", f"{BIDEN}.jpg")
    (desk.files.photos / "Thumbs.db").touch()
    (desk.files.photos / ".DS_Store").touch()
    result = desk.enrol()
    assert result.refused == 2
    assert desk.enrolled() == {OBAMA: 5}
    assert (
        f"{desk.files.photos / BIDEN}.jpg: no usable line of the list has this number"
        in "\n".join(desk.said)
    )
    assert f"{desk.files.photos / OBAMA}-6.jpg: left aside" in "\n".join(desk.said)
    assert desk.said[-1].endswith("line 3 (…007): left out, there is no photo; add "
                                  "<person number>.jpg and enrol again")  # fmt: skip


def test_nobody_enrolled_writes_no_roster(desk: Desk) -> None:
    desk.people(OBAMA)
    with pytest.raises(PhotoError, match=r"nobody on .* could be enrolled"):
        desk.enrol()
    assert not desk.files.roster.exists()


def test_a_folder_that_is_not_there(desk: Desk) -> None:
    desk.people(OBAMA)
    desk.files.photos.rmdir()
    with pytest.raises(PhotoError, match="photos cannot be listed: No such file"):
        desk.enrol()
    assert not desk.files.key.exists()


def test_an_altered_roster_is_refused_and_left_alone(three: Desk) -> None:
    content = bytearray(three.files.roster.read_bytes())
    content[-1] ^= 1
    three.files.roster.write_bytes(content)
    with pytest.raises(RosterError, match="the roster was altered"):
        three.enrol()
    assert three.files.roster.read_bytes() == content


@pytest.mark.parametrize("lost", ["key", "org_key"])
def test_a_lost_key_is_not_quietly_replaced(three: Desk, lost: str) -> None:
    path: Path = getattr(three.files, lost)
    path.unlink()
    with pytest.raises(SecretError, match="cannot be read: No such file"):
        three.enrol()
    assert not path.exists()


def test_another_organisations_key_is_refused(three: Desk) -> None:
    three.files.org_key.unlink()
    make_key(three.files.org_key, "the organisation key")
    with pytest.raises(SecretError, match="is not the organisation key"):
        three.enrol()


# --- the command -----------------------------------------------------------------------------


def command(desk: Desk, *more: str) -> int:
    paths = {"people": desk.files.people, "photos": desk.files.photos, "key": desk.files.key}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return cli.main(["enroll", *words, "--roster", str(desk.files.roster), *more])


def test_units_get_a_roster_without_names_and_numbers(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.people(OBAMA)
    desk.photo("obama", f"{OBAMA}.jpg")
    carried = desk.folder / "unit.senyum"
    assert command(desk, "--for-units", str(carried)) == 0
    key = read_key(desk.files.key, "the key")
    whole, bare = read(desk.files.roster, key), read(carried, key)
    assert [(person.id, person.number, person.name) for person in bare.people] == [
        (whole.people[0].id, "", "")
    ]
    assert (bare.version, desk.enrolled()) == (whole.version, {OBAMA: 1})
    assert load(carried, key).size == 1
    capsys.readouterr()
    assert command(desk, "--for-units", str(desk.files.roster)) == 2
    assert "is the roster itself" in capsys.readouterr().err


def test_the_command_ends_with_0_where_all_went_well(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.people(OBAMA)
    desk.photo("obama", f"{OBAMA}.jpg")
    assert command(desk) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-2:] == [
        "1 enrolled.",
        f"{desk.files.roster}: version 1, 1 person.",
    ]
    assert OBAMA not in said.err


def test_the_command_ends_with_1_where_somebody_was_left_out(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.people(OBAMA, BIDEN)
    desk.photo("obama", f"{OBAMA}.jpg")
    assert command(desk) == 1
    assert "1 enrolled, 1 left out." in capsys.readouterr().out


def test_the_command_removes_nobody_without_yes_where_there_is_no_terminal(
    three: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    *staying, _ = crowded(three, 40)
    three.people(OBAMA, BIDEN, EILEEN, *staying)
    assert command(three, "--remove-others") == 1
    out = capsys.readouterr().out
    assert "not on the list: Extra 040 (…040)" in out
    assert "1 person not removed: that was not confirmed; --yes confirms it" in out
    assert command(three, "--remove-others", "--yes") == 0
    assert "1 removed" in capsys.readouterr().out


def test_the_command_ends_with_2_where_the_list_is_wrong(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.files.people.write_text("number;name\n", encoding="utf-8")
    assert command(desk) == 2
    said = capsys.readouterr()
    assert said.err.count("senyum: ") == 1
    assert "column 'exempt' is missing" in said.err
    assert not desk.files.roster.exists()


def on_a_terminal(desk: Desk, *more: str, answer: bytes = b"") -> tuple[int, bytes]:
    """Run the command on a terminal, with an answer to a question; returns status and screen."""
    master, terminal = os.openpty()
    program = [sys.executable, "-c", "from edge.cli import main; raise SystemExit(main())"]
    files = desk.files
    words = ["--people", str(files.people), "--photos", str(files.photos)]
    words += ["--roster", str(files.roster), "--key", str(files.key), *more]
    child = subprocess.Popen(
        [*program, "enroll", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "300"},
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(master, "r+b", buffering=0) as screen:
        while part := screen.read(4096):  # ends with EIO where the last writer has closed
            shown += part
            if answer and b"[y/N] " in shown:
                screen.write(answer)
                answer = b""
    return child.wait(timeout=30), shown


def test_on_a_terminal_there_is_a_bar_and_the_same_lines(desk: Desk) -> None:
    desk.people(OBAMA, BIDEN)
    desk.photo("obama", f"{OBAMA}.jpg")
    status, shown = on_a_terminal(desk)
    assert status == 1
    assert b"looking at photos" in shown
    assert b"line 3 (\xe2\x80\xa6003): left out" in shown
    assert b"1 enrolled, 1 left out." in shown


@pytest.mark.parametrize(("answer", "removed"), [(b"y\n", 1), (b"\n", 0), (b"\x04", 0)])
def test_on_a_terminal_the_operator_is_asked(three: Desk, answer: bytes, removed: int) -> None:
    *staying, _ = crowded(three, 40)
    three.people(OBAMA, BIDEN, EILEEN, *staying)
    status, shown = on_a_terminal(three, "--remove-others", answer=answer)
    assert b"not on the list: Extra 040" in shown
    assert b"Remove 1 person from the roster? [y/N]" in shown
    assert status == (0 if removed else 1)
    assert len(three.enrolled()) == 43 - removed


def test_who_was_erased_is_remembered_and_enrolled_again_only_by_intent(three: Desk) -> None:
    key, org_key = (read_key(path, "the key") for path in (three.files.key, three.files.org_key))
    before = read(three.files.roster, key)
    erased = person_id(OBAMA, org_key)
    staying = tuple(person for person in before.people if person.id != erased)
    save(three.files.roster, key, replace(before, people=staying, tombstones={erased: 2}))
    shutil.rmtree(three.files.photos)
    three.people(BIDEN)
    three.files.photos.mkdir()
    three.enrol()
    roster = read(three.files.roster, key)
    assert (roster.tombstones, roster.readmitted) == ({erased: 2}, {})
    assert roster.salt == before.salt != ""
    three.people(OBAMA)
    three.photo("obama3", f"{OBAMA}.jpg")
    result = three.enrol()
    assert [line for line in three.said if "was erased, and is enrolled again" in line]
    roster = read(three.files.roster, key)
    assert (roster.tombstones, roster.readmitted) == ({}, {erased: result.version})


def test_a_roster_that_was_delivered_is_not_enrolled_into(three: Desk) -> None:
    key = read_key(three.files.key, "the key")
    save(three.files.roster, key, stripped(read(three.files.roster, key)))
    with pytest.raises(RosterError, match="was made for units and holds no numbers"):
        three.enrol()
