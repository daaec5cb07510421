"""The page in a browser, and requests that the page does not make."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from starlette.testclient import TestClient

from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.model import BundleModel
from tests.field.conftest import MakeBundle, paint, write_bundle

pytestmark = pytest.mark.slow  # Gradio takes seconds to be imported

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

# Python itself reports whatever the server tries to reach beyond this computer.
SERVER = """
import sys

def watch(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost"):
        print("reached out to", arguments[0], file=sys.stderr)
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        print("reached out to", arguments[1], file=sys.stderr)

sys.addaudithook(watch)
from fpcn_lightning.field.command import main
raise SystemExit(main())
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        from fpcn_lightning.field.serve_page import make_app

        yield TestClient(make_app(BundleModel(read_bundle(write_bundle(folder / "bundle"))), max_megabytes=1))


def test_the_page_names_its_bundle(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert "colours" in response.text
    assert "fonts.googleapis" not in response.text + client.get("/theme.css").text


@pytest.mark.parametrize("target", ["/etc/passwd", __file__, "https://example.org/", "file:///etc/passwd"])
@pytest.mark.parametrize("call", ["file=", "file/", "proxy=", "stream/"])
def test_no_file_of_this_computer_is_served(client: TestClient, call: str, target: str) -> None:
    assert client.get(f"/gradio_api/{call}{quote(target)}").status_code == 404


@pytest.mark.parametrize("path", ["/assets/", "/static/"])
def test_paths_outside_the_files_of_the_page_are_refused(client: TestClient, path: str) -> None:
    for climb in ("../" * 12, "%2e%2e/" * 12, "..%2f" * 12):
        response = client.get(f"{path}{climb}etc/passwd")
        assert response.status_code in (403, 404)


@pytest.mark.parametrize("path", ["/monitoring", "/gradio_api/info", "/gradio_api/runs", "/docs", "/openapi.json"])
def test_unused_parts_of_gradio_are_disabled(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_uploads_are_bounded_one_by_one(client: TestClient) -> None:
    response = client.post("/gradio_api/upload", files={"files": ("large.jpg", bytes(2 * 2**20))})
    assert response.status_code == 413


def test_uploads_are_bounded_together(client: TestClient) -> None:
    response = client.post("/gradio_api/upload", content=b"", headers={"content-length": str(60 * 2**20)})
    assert response.status_code == 413
    unknown_length = client.post("/gradio_api/upload", content=iter([b"bytes"]))
    assert unknown_length.status_code == 413


@contextmanager
def started(bundle: Path, temporary: Path) -> Iterator[str]:
    """A server in its own process, which must end without an error; yields its address."""
    command = [sys.executable, "-c", SERVER, "serve", str(bundle), "--port", "0", "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout
            found = re.match(r"The page is at (\S+) ", process.stdout.readline())
            assert found
            yield found[1]
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed")
def test_in_a_browser(make_bundle: MakeBundle, tmp_path: Path) -> None:
    from playwright.sync_api import FilePayload, Page, sync_playwright

    bundle = make_bundle(("red <i>granite</i>", "green ${1+1}", "blue {{1+1}}"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    red = paint(tmp_path / "red.png").read_bytes()
    grey = paint(tmp_path / "grey.png", (128, 128, 128), (30, 60)).read_bytes()
    pictures: list[FilePayload] = [
        {"name": "<img src=x onerror=document.title=1>.png", "mimeType": "image/png", "buffer": red},
        {"name": "grey wall.png", "mimeType": "image/png", "buffer": grey},
        {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"},
    ]
    problems: list[str] = []
    hosts: set[str | None] = set()

    def watch(page: Page) -> None:
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)

    with started(bundle, temporary) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844})  # a phone's
        watch(page)
        page.goto(address)
        page.set_input_files("input[type=file]", pictures)
        page.wait_for_selector("article")
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert page.locator("h2").all_inner_texts() == ["red <i>granite</i>", "Unknown", "Unreadable"]
        assert page.locator(".summary").inner_text() == "3 pictures: 1 recognised, 1 unknown, 1 unreadable."
        assert "does not look like the pictures that the model was trained on" in page.inner_text("#picture-2")
        assert "green ${1+1}" in page.inner_text("#picture-1")
        assert page.locator("article img").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.title() == "colours"
        with page.expect_download() as download:
            page.click("text=Download as CSV")
        with download.value.path().open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["unknown"] for row in rows] == ["false", "true", ""]
        (folder,) = temporary.glob("fpcn-serve-*")
        assert not any(path.stat().st_size for path in folder.rglob("*") if path.is_file())  # uploads are deleted
        page.set_input_files("input[type=file]", pictures[:1])  # the drop zone is ready for more
        page.wait_for_selector("text=1 picture: 1 recognised")
        browser.close()
    assert problems == []
    assert hosts <= {"127.0.0.1", None}  # data URIs have no host
    assert not folder.exists()
