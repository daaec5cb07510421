"""The page is read as a browser would, by Python's own parser."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.report.experiments import read_experiments
from fpcn_lightning.report.page import PageContent, make_page
from fpcn_lightning.runs.results import write_result
from tests.report.run_folders import leave_plan, leave_run
from tests.runs.test_results import make_failed

VOID = {"meta", "img", "br", "hr"}
NASTY = "<script>alert('&')</script> {{ 7 * 7 }}"


class Reader(HTMLParser):
    """Checks that tags close in order, and keeps what a reader sees and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.places: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("href", "src", "action", "data", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "runs" / "a b%"
    for variant, theta in (("plain", 0.5), ("mask", 0.9)):
        config = {"model": {"theta": theta, "text": NASTY}}
        leave_run(
            place / variant / "seed-0", [1, 1, 1, 0], variant=variant, config=config, command=f"{NASTY} {variant}"
        )
    write_result(place / "failed", make_failed(variant="failed", error=f"{NASTY}\nsecond line"))
    leave_plan(place, [("plain", 0), ("mask", 0), ("lost", 3)], command=f"sweep {NASTY}")
    return place


def page_of(folder: Path, figures: dict[Path, str] | None = None) -> str:
    return make_page([PageContent(each, figures or {}, []) for each in read_experiments(folder)], folder)


def test_everything_that_was_written_by_others_is_escaped(folder: Path) -> None:
    reader = read(page_of(folder))
    assert "script" not in reader.tags
    assert reader.text.count(NASTY) >= 5  # sweep, two runs, the error twice at least
    assert "49" not in re.findall(r"\d+", reader.text)


def test_nothing_is_fetched_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    svg = tmp_path / "figure.svg"
    svg.write_text("<svg/>", encoding="utf-8")
    html = page_of(folder, {svg: "What it shows"})
    reader = read(html)
    assert {"script", "link", "iframe", "object"}.isdisjoint(reader.tags)
    elsewhere = [place for place in reader.places if not place.startswith(("data:", "#"))]
    assert all((folder / Path(place)).is_dir() for place in elsewhere)
    assert len(elsewhere) == 3
    assert "data:image/svg+xml;base64,PHN2Zy8+" in reader.places
    assert "url(" not in html
    assert "@import" not in html


def test_links_with_odd_characters_lead_to_their_folders(folder: Path) -> None:
    experiments = read_experiments(folder)
    places = read(make_page([PageContent(each, {}, []) for each in experiments], folder.parent)).places
    assert "a%20b%25/plain/seed-0/" in places


def test_rows_differ_in_what_differs_and_share_the_rest(folder: Path) -> None:
    text = " ".join(read(page_of(folder)).text.split())
    differing = text[text.index("What differs") : text.index("The config that all runs share")]
    assert "model.theta" in differing
    assert "model.text" in differing, "the failed run has no such key"
    assert "data.split.seed" not in differing
    assert re.search(r"data\.split\.seed ?7", text)


def test_what_is_missing_and_what_failed_is_on_the_page(folder: Path) -> None:
    text = " ".join(read(page_of(folder)).text.split())
    assert re.search(r"lost ?- ?3 ?.*missing", text)
    assert "second line" in text, "the whole error stands at its run"


def test_a_run_that_was_killed_is_said_to_have_died(folder: Path) -> None:
    write_result(folder / "killed", make_failed(variant="killed", status="running", error=None))
    (folder / "killed" / ".lock").touch()
    text = " ".join(read(page_of(folder)).text.split())
    assert text.count("died: exited without an error message, perhaps killed") == 3, "both tables and the runs"


def leave_panels(run: Path, epoch: int, grey: int, side: int = 300) -> None:
    (run / "panels").mkdir(exist_ok=True)
    Image.new("RGB", (side, side // 2), (grey, grey, grey)).save(run / "panels" / f"epoch-{epoch:04}.png")


def shown(reader: Reader) -> list[Image.Image]:
    """The photographs inside a page."""
    inlined = [place.partition("base64,")[2] for place in reader.places if place.startswith("data:image/jpeg")]
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in inlined]


def test_the_page_shows_where_each_variant_looked_last(folder: Path) -> None:
    leave_run(folder / "plain" / "seed-1", [1, 1, 1, 0], seed=1, config={"model": {"theta": 0.5, "text": NASTY}})
    for run, epoch, grey in (("seed-0", 9, 30), ("seed-0", 10000, 90), ("seed-1", 20000, 210)):
        leave_panels(folder / "plain" / run, epoch, grey)
    leave_panels(folder / "mask" / "seed-0", 3, 150, side=3000)
    reader = read(page_of(folder))
    pictures, text = shown(reader), " ".join(reader.text.split())
    assert [picture.size for picture in pictures] == [(300, 150), (1400, 700)], "no wider than a page"
    assert [round(float(np.asarray(picture).mean())) for picture in pictures] == [90, 150]
    assert re.search("Heat maps.*plain, seed 0, after epoch 10000 ?mask, seed 0, after epoch 3", text)


def test_panels_that_are_damaged_or_not_there_leave_no_gap(folder: Path) -> None:
    assert "Heat maps" not in page_of(folder)
    leave_panels(folder / "plain" / "seed-0", 1, 90)
    whole = (folder / "plain" / "seed-0" / "panels" / "epoch-0001.png").read_bytes()
    (folder / "mask" / "seed-0" / "panels").mkdir()
    (folder / "mask" / "seed-0" / "panels" / "epoch-0002.png").write_bytes(whole[:60])
    (folder / "mask" / "seed-0" / "panels" / "epoch-new.png").write_bytes(whole)
    reader = read(page_of(folder))
    assert len(shown(reader)) == 1
    assert "mask, seed 0, after epoch" not in reader.text


def test_several_experiments_have_a_section_each(folder: Path) -> None:
    leave_run(folder / "other", [1, 0], experiment="other")
    reader = read(page_of(folder))
    assert reader.tags.count("section") == 2
    assert {"#experiment-1", "#experiment-2"} <= set(reader.places)


def test_the_page_answers_first_and_its_notes_are_last(folder: Path) -> None:
    text = " ".join(read(page_of(folder)).text.split())
    words = ("plain and mask are best", "95 % interval", "All columns and rows", "Runs", "Where the numbers come from")
    places = [text.index(word) for word in (*words, "Notes", "The test set has 4 pictures")]
    assert places == sorted(places)


def test_runs_with_a_page_of_their_own_are_linked_to_it(folder: Path) -> None:
    (folder / "plain" / "seed-0" / "index.html").touch()
    places = read(page_of(folder)).places
    assert "plain/seed-0/index.html" in places
    assert "mask/seed-0/" in places
