"""The wheel, built and installed elsewhere, runs from another folder: it contains `conf` and the launchers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: str, folder: Path, site: Path | None = None) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_runs_from_another_folder(tmp_path: Path) -> None:
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT), folder=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel), folder=tmp_path)
    for module in ("fpcn_lightning", "hydra_plugins.fpcn_lightning"):
        where = run("-c", f"import {module} as module; print(module.__file__)", folder=elsewhere, site=site)
        assert where.startswith(str(site))
    small = ("data.synthetic.images_per_class=6", "data.synthetic.size=48", "model=plain")
    run("-m", "fpcn_lightning", "-m", "trainer=smoke", *small, folder=elsewhere, site=site)
    assert (elsewhere / "outputs" / "smoke" / "single" / "plain" / "seed-0" / "result.json").exists()
