import base64
import csv
import io
import os
import re
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import uvicorn
from PIL import Image

from fpcn_lightning.errors import UserError
from fpcn_lightning.field import serve_predictions
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import classify_file
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serve import serve
from fpcn_lightning.field.serve_predictions import picture_result, reply
from tests.field.conftest import MakeBundle, colour_network, paint


@pytest.fixture
def model(bundle_folder: Path) -> BundleModel:
    return BundleModel(read_bundle(bundle_folder))


@pytest.fixture
def uploads(tmp_path: Path) -> list[Path]:
    """One picture of a known kind, one of no known kind, one that is no picture."""
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    return [paint(tmp_path / "red.png"), paint(tmp_path / "grey.png", (128, 128, 128)), text]


def decoded(uri: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"), validate=True)
    return np.asarray(Image.open(io.BytesIO(data)))


def without_map() -> onnx.ModelProto:
    network = colour_network()
    del network.graph.output[2]
    return network


def table_of(html: str) -> list[dict[str, str]]:
    found = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', html)
    assert found
    return list(csv.DictReader(io.StringIO(base64.b64decode(found[1]).decode())))


def test_every_picture_gets_its_prediction(model: BundleModel, uploads: list[Path]) -> None:
    html = reply(model, uploads)
    assert "3 pictures: 1 recognised,\n1 unknown, 1 unreadable." in html
    assert re.findall(r"<h2>(.+)</h2>", html) == ["red", "Unknown", "Unreadable"]
    assert "its best guess would be\n<b>red</b>" in html
    assert "this is no picture of a known format" in html
    assert html.count("data:image/jpeg") == 4


def test_the_csv_has_the_same_predictions(model: BundleModel, uploads: list[Path]) -> None:
    expected = [classify_file(model, path) for path in uploads]
    rows = table_of(reply(model, uploads))
    assert [row["path"] for row in rows] == ["red.png", "grey.png", "notes.jpg"]
    assert [row["class_1"] for row in rows] == ["red", "red", ""]
    assert [row["unknown"] for row in rows] == ["false", "true", ""]
    assert rows[2]["error"] == expected[2].error
    assert expected[0].probabilities is not None
    assert float(rows[0]["probability_1"]) == pytest.approx(float(expected[0].probabilities[0]), abs=1e-6)


def test_system_files_of_a_dropped_folder_are_named(model: BundleModel, tmp_path: Path) -> None:
    html = reply(model, [paint(tmp_path / "red.png"), paint(tmp_path / "._red.png")])
    assert html.count("a hidden file or one of the operating system") == 1


def test_pictures_are_deleted_once_predicted(model: BundleModel, uploads: list[Path]) -> None:
    reply(model, uploads)
    assert not any(path.exists() for path in uploads)


def test_pictures_are_deleted_also_when_the_network_fails(
    model: BundleModel, uploads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Iterator[Any]:
        raise UserError("the network failed")

    monkeypatch.setattr(serve_predictions, "classify", failing)
    with pytest.raises(UserError):
        reply(model, uploads)
    assert not any(path.exists() for path in uploads)


def test_names_are_escaped(make_bundle: MakeBundle, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    model = BundleModel(read_bundle(make_bundle((hostile, "green", "blue"))))
    html = reply(model, [paint(tmp_path / f"{hostile}.png")])
    assert hostile not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 3
    assert table_of(html)[0]["class_1"] == hostile


def test_the_heat_map_shows_where_the_colour_is(model: BundleModel, tmp_path: Path) -> None:
    path = paint(tmp_path / "corner.png", (60, 60, 60), (80, 40))
    with Image.open(path) as picture:
        picture.paste((255, 0, 0), (60, 0, 80, 20))
        picture.save(path)
    result = picture_result(classify_file(model, path), model.bundle)
    assert result.top[0].name == "red"
    shown, heat = decoded(result.picture), decoded(result.heat)
    assert shown.shape == heat.shape == (320, 640, 3)
    hot, cold = heat[10:110, 520:630].mean((0, 1)), heat[220:310, 10:200].mean((0, 1))
    yellow, violet = np.array((253, 231, 37)), np.array((68, 1, 84))
    assert np.abs(hot - yellow).sum() < np.abs(hot - violet).sum()
    assert np.abs(cold - violet).sum() < np.abs(cold - yellow).sum()


def test_a_bundle_without_activation_map_shows_the_picture_alone(make_bundle: MakeBundle, tmp_path: Path) -> None:
    model = BundleModel(read_bundle(make_bundle(activation_map=False, model=without_map())))
    html = reply(model, [paint(tmp_path / "red.png")])
    assert html.count("data:image/jpeg") == 1
    assert "What speaks for" not in html


def test_tiles_are_shown_on_the_whole_picture(make_bundle: MakeBundle, tmp_path: Path) -> None:
    views = {"kind": "tiling", "tile_scale": 1.0, "most_tiles": 4, "side": 32}
    model = BundleModel(read_bundle(make_bundle(views=views)))
    result = picture_result(classify_file(model, paint(tmp_path / "red.png", size=(64, 32))), model.bundle)
    heat = decoded(result.heat).astype(int)
    assert heat.shape == (320, 640, 3)
    assert (heat.max(2) - heat.min(2)).min() > 50  # colour everywhere, grey nowhere


def test_only_so_many_pictures_at_a_time(
    model: BundleModel, uploads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_predictions, "MAX_PICTURES", 2)
    html = reply(model, uploads)
    assert "1 more were skipped" in html
    assert len(table_of(html)) == 2
    assert not any(path.exists() for path in uploads)


def test_too_many_pixels_are_refused_before_decoding(model: BundleModel, tmp_path: Path) -> None:
    path = paint(tmp_path / "red.bmp")
    header = bytearray(path.read_bytes())
    header[18:26] = (20_000).to_bytes(4, "little") * 2
    path.write_bytes(header)
    rows = table_of(reply(model, [paint(tmp_path / "green.png", "green"), path]))
    assert rows[0]["class_1"] == "green"
    assert "120 million pixels" in rows[1]["error"]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Path]]:
    """The server ends when it starts; the folders for uploads are listed."""
    seen: list[Path] = []

    def run(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        seen.append(folder)
        raise KeyboardInterrupt

    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    yield seen
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "address", "warned"), [("127.0.0.1", "127.0.0.1", False), ("0.0.0.0", "localhost", True)]
)
def test_the_address_and_who_may_open_it_are_printed(
    host: str,
    address: str,
    warned: bool,
    bundle_folder: Path,
    stopped: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve(bundle_folder, host=host, port=0, open_browser=False)
    printed = capsys.readouterr()
    assert re.match(rf"The page is at http://{address}:\d+/ ", printed.out)
    assert ("without a password" in printed.err) == warned
    assert not stopped[0].exists()


def test_a_port_that_is_taken_is_named(bundle_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--port={port} .*choose another"):
            serve(bundle_folder, port=port, open_browser=False)


def test_missing_gradio_is_named(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpcn_lightning.field.serve.find_spec", lambda _: None)
    with pytest.raises(UserError, match=re.escape("pip install 'fpcn-lightning[serve]'")):
        serve(bundle_folder, open_browser=False)
