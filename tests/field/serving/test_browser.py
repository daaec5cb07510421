"""The page in a browser: a desktop's, a phone's, and one that prefers dark pages."""

import csv
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.field.conftest import MakeBundle, colour_network, paint
from tests.field.serving.conftest import started

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed"),
]

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1200, "height": 900}
HOSTILE = "<img src=x onerror=document.title=1>.png"
NONE = "\N{EN DASH}"
CLASSES = ("red <i>granite</i>", "green ${1+1}", "blue {{1+1}}")


@contextmanager
def opened(bundle: Path, folder: Path, viewport: dict[str, int], *, dark: bool = False) -> Iterator["Page"]:
    """The page in a browser, which must reach the server alone and report no error."""
    from playwright.sync_api import ViewportSize, sync_playwright

    problems: list[str] = []
    with started(bundle, folder / "temporary", "--max-megabytes=1") as address, sync_playwright() as playwright:
        own = urlsplit(address).netloc
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(
            viewport=ViewportSize(width=viewport["width"], height=viewport["height"]),
            color_scheme="dark" if dark else "light",
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda request: problems.extend(foreign(request.url, own)))
        page.on("websocket", lambda connection: problems.extend(foreign(connection.url, own)))
        page.goto(address)
        page.wait_for_selector(".drop")
        yield page
        browser.close()
    assert problems == []


def foreign(url: str, own: str) -> list[str]:
    """The address if it is not of the server at `own`."""
    parts = urlsplit(url)
    return [url] if parts.scheme not in ("data", "blob") and parts.netloc != own else []


def downloaded(page: "Page", button: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.click(f"text={button}")
    with download.value.path().open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def batch(tmp_path: Path) -> list[Path]:
    """A known kind, none, one in doubt, one that is damaged, and one that is too large."""
    damaged = tmp_path / "half.png"
    damaged.write_bytes(paint(tmp_path / "whole.png").read_bytes()[:60])
    huge = tmp_path / "panorama.tif"
    huge.write_bytes(bytes(2**20 + 1))
    return [
        paint(tmp_path / HOSTILE),
        paint(tmp_path / "grey wall.png", (128, 128, 128), (30, 60)),
        paint(tmp_path / "olive.png", (140, 125, 20)),
        damaged,
        huge,
        paint(tmp_path / "blue.png", "blue"),
    ]


def classified(page: "Page", files: list[Path]) -> None:
    page.set_input_files("input[type=file]", files)
    page.wait_for_selector(f"text=Classified: {len(files)} of {len(files)}")
    page.wait_for_selector(f"article >> nth={len(files) - 1}")


def column(page: "Page", number: int) -> list[str]:
    return page.locator(f"tbody td:nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_batch_with_bad_files(
    make_bundle: MakeBundle, batch: list[Path], viewport: dict[str, int], tmp_path: Path
) -> None:
    with opened(make_bundle(CLASSES), tmp_path, viewport) as page:
        assert page.title() == "colours"
        assert page.locator(".chips li").all_inner_texts() == list(CLASSES)
        assert "90 % right" in page.inner_text(".facts")
        classified(page, batch)
        states = ["sure", "unknown", "doubtful", "unreadable", "unreadable", "sure"]
        assert column(page, 1) == [path.name for path in batch]
        assert column(page, 2) == states
        assert column(page, 3) == [CLASSES[0], NONE, f"{CLASSES[0]} or {CLASSES[1]}", NONE, NONE, CLASSES[2]]
        summary = page.inner_text(".summary")
        assert re.findall(r"\d+ \w+", summary) == ["6 photographs", "2 sure", "1 doubtful", "1 unknown", "2 unreadable"]
        assert page.locator(".banner").count() == 0
        assert "the file has 2 MB, more than the 1 MB" in page.locator("article").nth(4).inner_text()
        assert page.locator("article img").count() == 8  # photograph and heat map
        assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        edges = page.evaluate("[...document.querySelectorAll('article')].map(e => getComputedStyle(e).borderLeftColor)")
        assert len({edges[index] for index in (0, 1, 2, 3)}) == 4  # sure, unknown, doubtful, unreadable
        assert (edges[5], edges[4]) == (edges[0], edges[3])
        rows = downloaded(page, "Download results")
        assert [row["state"] for row in rows] == states
        assert page.title() == "colours"  # no name was run as a script


def test_the_table_is_sorted_by_keyboard(make_bundle: MakeBundle, batch: list[Path], tmp_path: Path) -> None:
    with opened(make_bundle(), tmp_path, DESKTOP) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == "file"
        classified(page, batch)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("th[aria-sort=ascending]")
        assert column(page, 1) == sorted(path.name for path in batch)
        page.focus("th:nth-child(4) button")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_selector("th:nth-child(4)[aria-sort=descending]")
        assert page.locator("th[aria-sort]").count() == 1
        assert column(page, 3)[:2] == ["red", "blue"] or column(page, 3)[:2] == ["blue", "red"]
        page.focus(".correction input >> nth=0")
        page.keyboard.type("blue")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Noted: blue")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('main input, main button')]"
            ".filter(e => !(e.ariaLabel || e.innerText || e.labels?.[0]?.innerText)).length"
        )
        assert unnamed == 0


def test_corrections_are_a_list_for_training(make_bundle: MakeBundle, batch: list[Path], tmp_path: Path) -> None:
    with opened(make_bundle(), tmp_path, PHONE) as page:
        classified(page, batch)
        assert page.is_disabled("text=Download corrections")
        fields = page.locator(".correction input")
        for number, label in ((1, "wall"), (2, "green"), (3, "=cmd()"), (0, "blue")):
            fields.nth(number).fill(label)
            fields.nth(number).press("Tab")
        page.wait_for_selector("text=Download corrections (CSV): 3")
        assert "not a class name" in page.locator(".correction").nth(3).inner_text()
        classified(page, batch[-1:])  # the next batch keeps them
        assert downloaded(page, "Download corrections") == [
            {"path": HOSTILE, "label": "blue"},
            {"path": "grey wall.png", "label": "wall"},
            {"path": "olive.png", "label": "green"},
        ]


def test_a_batch_of_unfamiliar_photographs_is_warned_of(make_bundle: MakeBundle, tmp_path: Path) -> None:
    files = [
        paint(tmp_path / "red.png"),
        paint(tmp_path / "blue.png", "blue"),
        paint(tmp_path / "grey.png", (128, 128, 128)),
    ]
    with opened(make_bundle(), tmp_path, DESKTOP, dark=True) as page:
        classified(page, files)
        page.wait_for_selector(".banner")
        assert "1 of 3 photographs look unlike" in page.inner_text(".banner")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(24, 24, 27)"
        classified(page, files[:2])
        assert page.locator(".banner").count() == 0


def test_a_page_takes_a_limited_number(make_bundle: MakeBundle, tmp_path: Path) -> None:
    red = paint(tmp_path / "red.png")
    with opened(make_bundle(), tmp_path, DESKTOP) as page:
        page.set_input_files("input[type=file]", [red] * 52)
        page.wait_for_selector("text=Classified: 50 of 50")
        page.wait_for_selector("article >> nth=49")
        assert "2 more were skipped" in page.inner_text(".banner")


def test_a_bundle_without_heat_map_shows_none(make_bundle: MakeBundle, tmp_path: Path) -> None:
    from tests.field.serving.test_pictures import without_map

    with opened(make_bundle(activation_map=False, model=without_map()), tmp_path, DESKTOP) as page:
        classified(page, [paint(tmp_path / "red.png")])
        assert page.locator("article img").count() == 1
        assert "heat map" not in page.content()


def test_scripts_in_a_bundle_are_text(make_bundle: MakeBundle, tmp_path: Path) -> None:
    attack = "</title><script>hacked=1</script>{{hacked=1}}${hacked=1}"
    image = "<img src=x onerror=hacked=1>"
    bundle = make_bundle(("red", image, "blue"), name=attack)
    (bundle / "card.md").write_text(f"# {attack}\n\n**Not intended for** {image}\n\n</pre>{image}\n", encoding="utf-8")
    with opened(bundle, tmp_path, DESKTOP) as page:
        assert page.title() == attack
        assert page.locator(".facts section").nth(2).inner_text().endswith(image)
        page.click("text=Model card")
        assert page.inner_text("pre").splitlines()[0] == f"# {attack}"
        classified(page, [paint(tmp_path / "green.png", "green")])
        assert column(page, 3) == [image]
        assert page.evaluate("typeof hacked") == "undefined"


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_bundle_that_locates_objects_shows_them(
    make_bundle: MakeBundle, viewport: dict[str, int], tmp_path: Path
) -> None:
    counts = {"train": [12, 7, 3], "val": [1, 2, 3], "test": [20, 0, 5]}
    bundle = make_bundle(model=colour_network(masked=True), object_mask=True, photographs=counts)
    with opened(bundle, tmp_path, viewport) as page:
        assert [text.split() for text in page.locator(".chips li").all_inner_texts()] == [
            ["red", "12"],
            ["green", "7"],
            ["blue", "3"],
        ]
        assert "from 22 photographs" in page.inner_text(".facts")
        classified(page, [paint(tmp_path / "red.png")])
        assert [image.get_attribute("alt") for image in page.locator("article img").all()] == [
            "red.png",
            "heat map of red.png",
            "located object in red.png",
        ]
        assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        page.click("text=What the results mean")
        assert "The located object" in page.inner_text("details[open]")
