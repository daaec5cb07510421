"""The pages of the Python API: a page for each folder of the package, filled by mkdocstrings from the docstrings."""

import ast
from pathlib import Path

from fpcn_lightning.config import PACKAGE

INTRODUCTION = """\
# Python API

All modules of the package, by folder, with the docstrings of the code. [Design](../design.md) says what each folder is
for and which may import which. Names that begin with an underscore are not shown, and may change at any time.

"""


def pages() -> dict[str, str]:
    """The text of each page, by its path in the site."""
    folders = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").is_file())
    made = {
        "api/index.md": INTRODUCTION + "".join(f"- [{name}]({name}.md){_about(name)}\n" for name in ["top", *folders])
    }
    made["api/top.md"] = _page("fpcn_lightning", sorted(PACKAGE.glob("*.py")))
    for name in folders:
        made[f"api/{name}.md"] = _page(f"fpcn_lightning.{name}", sorted((PACKAGE / name).rglob("*.py")))
    return made


def _about(folder: str) -> str:
    if folder == "top":
        return ": the modules at the top of the package"
    text = _docstring(PACKAGE / folder / "__init__.py")
    return f": {text.splitlines()[0].rstrip('.')}" if text else ""


def _page(title: str, modules: list[Path]) -> str:
    shown = [
        path for path in modules if not path.name.startswith("_") or (path.name == "__init__.py" and _docstring(path))
    ]
    return f"# {title}\n\n" + "".join(f"::: {_dotted(path)}\n\n" for path in shown)


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
