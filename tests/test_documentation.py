"""The documentation site: pages that are made from the code are complete, examples run, links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from fpcn_lightning import __version__, config
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import classify_file
from fpcn_lightning.field.model import BundleModel
from scripts import build_docs, commands_page, keys_page
from tests.field.conftest import MakeBundle, make_bundle, paint

__all__ = ["make_bundle"]

ROOT = Path(__file__).parents[1]


def block(page: str, language: str, containing: str) -> str:
    """The code block of a page in docs/ that contains a text."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (found,) = (each for each in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S) if containing in each)
    return str(found)


def test_every_key_of_the_schema_is_described() -> None:
    sections = keys_page.schema((ROOT / "fpcn_lightning" / "config.py").read_text(encoding="utf-8"))
    page = keys_page.page()
    for section in (config.Config, config.DataConfig, config.TrainingConfig, config.ExportConfig):
        assert [key.name for key in sections[section.__name__].keys] == [each.name for each in fields(section)]
    for key in sections["DataConfig"].keys:
        assert f"| `data.{key.name}` |" in page
    assert "| `data.split.published.train` |" in page
    assert "| `training.budget` | `str | None = None` | 600steps \\| 12epochs \\| 20min: replaces" in page


def test_every_key_of_every_file_is_listed_with_its_value_and_comment() -> None:
    page = keys_page.page()
    for path in sorted(config.CONF.rglob("*/*.yaml")):
        keys = {key.name for key in keys_page.yaml_keys(path)}
        assert keys == set(_leaves(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
        assert f"={path.stem}`" in page
    assert "| `model.theta` | `0.0` | value of the mask outside the object, 0 <= theta < 1 |" in page


def _leaves(node: dict[str, object], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in node.items():
        name = f"{prefix}{key}"
        if name == "defaults":
            continue
        found += _leaves(value, f"{name}.") if isinstance(value, dict) and value else [name]
    return found


def test_every_subcommand_is_on_the_page_of_commands() -> None:
    page = commands_page.page()
    for name in ("train", "predict", "check", "map", "serve", "info"):
        assert f"usage: fpcn {name} " in page
    assert "### `--help experiment`" in page
    assert commands_page.subcommands("  COMMAND\n    predict   a\n    demo-photos b\n\nexamples:") == [
        "predict",
        "demo-photos",
    ]
    with pytest.raises(RuntimeError, match="fpcn unknown --help fails"):
        commands_page._help_of_fpcn("unknown")


@pytest.mark.parametrize("name", [name for name in build_docs.sources() if name.endswith(".md")])
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    build_docs.with_links((ROOT / name).read_text(encoding="utf-8"), name, build_docs.all_places())


def test_links_are_changed_to_the_site_and_broken_ones_refused() -> None:
    places = {"README.md": "index.md", "docs/keys.md": "keys.md", "docs/figure.png": "figure.png"}
    text = "![it](docs/figure.png) [`keys`](docs/keys.md#data) [code](Makefile) `[no](link.md)` [web](https://a.b)"
    changed = "![it](figure.png) [`keys`](keys.md#data) code `[no](link.md)` [web](https://a.b)"
    assert build_docs.with_links(text, "README.md", places) == changed
    assert build_docs.with_links("[start](../README.md)", "docs/keys.md", places) == "[start](index.md)"
    with pytest.raises(build_docs.BrokenPage, match=re.escape("docs/keys.md has a link to missing.md")):
        build_docs.with_links("[gone](missing.md)", "docs/keys.md", places)


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]},
    ]
    path = tmp_path / "example.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert build_docs.page_text(path) == "# Title\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.html", '<script src="https://elsewhere.org/a.js"></script>'),
        ("page.html", '<link rel="stylesheet" href="//elsewhere.org/a.css">'),
        ("style.css", "@font-face { src: url(https://elsewhere.org/a.woff2) }"),
    ],
)
def test_a_site_that_loads_from_another_host_is_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "fine.html").write_text('<a href="https://elsewhere.org">a link is no request</a><img src="a.png">')
    build_docs.check_hosts(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(build_docs.BrokenPage, match=r"elsewhere\.org"):
        build_docs.check_hosts(tmp_path)


def test_the_reader_of_the_guide_for_engineers_predicts_what_fpcn_predicts(
    tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_bundle()
    photograph = paint(tmp_path / "green.png", "green", (40, 30))
    code = block("engineer.md", "python", "InferenceSession").replace("MODEL", str(folder))
    exec(compile(code.replace("PHOTO", str(photograph)), "engineer.md", "exec"), {})
    name, probability, known = capsys.readouterr().out.split()
    prediction = classify_file(BundleModel(read_bundle(folder)), photograph)
    assert prediction.probabilities is not None
    assert (name, known) == ("green", "unknown" if prediction.unknown else "known")
    assert float(probability) == pytest.approx(float(np.max(prediction.probabilities)), abs=1e-4)


@pytest.mark.slow
def test_the_network_and_the_data_set_of_the_guide_for_researchers_run(tmp_path: Path) -> None:
    for name, language, containing in (
        ("toy_network.py", "python", "class Toy"),
        ("model/toy.yaml", "yaml", "toy_network.Toy"),
        ("data/mine.yaml", "yaml", "quarries"),
    ):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block("researcher.md", language, containing), encoding="utf-8")
    small = ("trainer=smoke", "data.synthetic.images_per_class=6", "data.synthetic.size=48")
    _program(tmp_path, "--config-dir", "mine", "model=toy", *small)
    assert (tmp_path / "outputs" / "smoke" / "single" / "toy" / "seed-0" / "result.json").is_file()
    shown = _program(tmp_path, "--config-dir", "mine", "data=mine", "--cfg", "job")
    assert "root: /data/quarries/list.csv" in shown


def _program(folder: Path, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    line = [sys.executable, "-m", "fpcn_lightning", *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_site_is_built_in_strict_mode() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.build_docs"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index.html", "keys.html", "commands.html", "method.html", "api/models.html"):
        assert (ROOT / "build" / "site" / page).is_file()


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(
        r"^## (\d\S+)(?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert (citation["version"], str(citation["date-released"])) == released[0]
    assert released[0][0] == __version__
    assert {each["doi"] for each in citation["references"]} == {"10.3390/electronics12234805", "10.2138/am-2023-9092"}
