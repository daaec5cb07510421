"""Builds the documentation site: `make docs`.

The pages are collected in `build/docs`: those of `docs/`, README, CONTRIBUTING and CHANGELOG, the lab notebook
`experiments/`, the notebooks of `docs/notebooks/`, and pages that are made from the code: commands, keys, API. Zensical
then writes `build/site` in strict mode, in which a link to a page or heading that does not exist is an error.
"""

import json
import posixpath
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from scripts import api_pages, commands_page, keys_page

ROOT = Path(__file__).resolve().parents[1]
COPIED = (".png", ".svg", ".jpg", ".css")
# A block of code, or a link, or code in a line; only links are changed. A link may have code in its text.
_PARTS = re.compile(
    r"^```.*?^```\s*?$|(?P<mark>!?)\[(?P<label>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)|`[^`\n]+`",
    re.MULTILINE | re.DOTALL,
)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


class BrokenPage(Exception):  # noqa: N818 - a page is broken, not the program
    """A link leads nowhere, or a page loads something from another host."""


def main() -> int:
    """Build the site; returns the exit code."""
    try:
        folder = ROOT / "build" / "docs"
        write_pages(folder)
        check_navigation(folder)
        build(ROOT)
        check_hosts(ROOT / "build" / "site")
    except BrokenPage as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    print(f"{ROOT / 'build' / 'site' / 'index.html'} (for the search: python -m http.server --directory build/site)")
    return 0


def sources() -> dict[str, str]:
    """Every page and picture that is copied: its path in the repository, and its path in the site."""
    found = {name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md")} | {"README.md": "index.md"}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", ".ipynb", *COPIED) and ".ipynb_checkpoints" not in path.parts:
            place = path.relative_to(ROOT / "docs")
            found[f"docs/{place.as_posix()}"] = (
                place.with_suffix(".md") if path.suffix == ".ipynb" else place
            ).as_posix()
    found |= {
        name: name for name in (path.relative_to(ROOT).as_posix() for path in (ROOT / "experiments").rglob("*.md"))
    }
    return found


def generated() -> dict[str, Callable[[], str]]:
    """The pages that are made from the code: path in the site, and what makes the text."""
    made: dict[str, Callable[[], str]] = {"commands.md": commands_page.page, "keys.md": keys_page.page}
    made |= {place: partial(str, text) for place, text in api_pages.pages().items()}
    notebooks = [Path(place) for name, place in sources().items() if name.endswith(".ipynb")]
    if notebooks:
        listed = "".join(f"- [{place.stem}]({place.name})\n" for place in notebooks)
        made["notebooks/index.md"] = partial(str, f"# Notebooks\n\n{listed}")
    return made


def all_places() -> dict[str, str]:
    """Path in the site of everything in it, by its path in the repository; generated pages are as if in `docs/`."""
    places = {**sources(), **{f"docs/{place}": place for place in generated()}}
    folders = {path.removesuffix("/index.md"): place for path, place in places.items() if path.endswith("/index.md")}
    return {**folders, **places}


def write_pages(folder: Path) -> None:
    """Write all pages to a folder, which is emptied first.

    Raises:
        BrokenPage: a page has a link to something that does not exist.
    """
    shutil.rmtree(folder, ignore_errors=True)
    places = all_places()
    for name, place in sources().items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            target.write_text(with_links(page_text(ROOT / name), name, places), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / name, target)
    for place, make in generated().items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(make(), encoding="utf-8")


def page_text(path: Path) -> str:
    """The Markdown of a page or notebook; of a notebook with its stored output as text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"]).rstrip()
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [f"```text\n{output}\n```" for output in _outputs(cell)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _outputs(cell: Mapping[str, object]) -> Iterator[str]:
    outputs = cell.get("outputs", [])
    for output in outputs if isinstance(outputs, list) else []:
        text = "".join(output.get("text", output.get("data", {}).get("text/plain", []))).rstrip()
        if text:
            yield text


def with_links(text: str, name: str, places: Mapping[str, str]) -> str:
    """A page with its relative links changed from the repository to the site.

    A link to a file of the repository that is not in the site, such as a script, becomes its text.

    Args:
        text: of the page.
        name: path of the page in the repository.
        places: path in the site of everything in it, by path in the repository.

    Raises:
        BrokenPage: a link leads to nothing.
    """

    def changed(match: re.Match[str]) -> str:
        target = match["target"]
        path, _, anchor = (target or "").partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return match[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        if found in places:
            place = posixpath.relpath(places[found], posixpath.dirname(places[name]) or ".")
            return f"{match['mark']}[{match['label']}]({place}{'#' + anchor if anchor else ''})"
        if not (ROOT / found).exists():
            raise BrokenPage(f"{name} has a link to {target}, which does not exist.")
        return match["label"]

    return _PARTS.sub(changed, text)


def check_navigation(folder: Path) -> None:
    """Check that every page of the navigation exists.

    Raises:
        BrokenPage: one does not; Zensical would say nothing.
    """
    navigation = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    missing = [page for page in _pages_of(navigation) if not (folder / page).is_file()]
    if missing:
        raise BrokenPage(f"the navigation in zensical.toml names pages that do not exist: {', '.join(missing)}.")


def _pages_of(navigation: object) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for entry in navigation.values():
            yield from _pages_of(entry)
    elif isinstance(navigation, list):
        for entry in navigation:
            yield from _pages_of(entry)


def build(root: Path) -> None:
    """Run Zensical in strict mode.

    Raises:
        BrokenPage: it found a problem; its report is part of the message.
    """
    line = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)
    report = _COLOUR.sub("", f"{done.stdout}{done.stderr}").partition("Traceback")[0].strip()
    if done.returncode:
        raise BrokenPage(f"Zensical refuses the pages in build/docs:\n{report}")
    print(report)


class _Loaded(HTMLParser):
    """Collects the addresses that a browser loads by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what one element loads."""
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "prev", "next"):
            return
        address = values.get("href") if tag == "link" else values.get("src")
        if address:
            self.addresses.append(address)


def check_hosts(site: Path) -> None:
    """Check that no page or style sheet of the site loads anything from another host.

    Raises:
        BrokenPage: one does.
    """
    for path in sorted(site.rglob("*.html")):
        parser = _Loaded()
        parser.feed(path.read_text(encoding="utf-8"))
        _check_addresses(path, parser.addresses)
    for path in sorted(site.rglob("*.css")):
        _check_addresses(path, re.findall(r"url\(['\"]?([^'\")]+)", path.read_text(encoding="utf-8")))


def _check_addresses(path: Path, addresses: list[str]) -> None:
    foreign = [address for address in addresses if re.match(r"(?:https?:)?//", address)]
    if foreign:
        raise BrokenPage(f"{path} loads {foreign[0]} from another host.")


if __name__ == "__main__":
    sys.exit(main())
