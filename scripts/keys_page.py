"""The page of all configuration keys, made from `fpcn_lightning/config.py` and the files in `conf/`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from fpcn_lightning.cli.help import ADDED, first_comment
from fpcn_lightning.config import CONF, PACKAGE

INTRODUCTION = """\
# Configuration keys

A key is set on the command line as `KEY=VALUE`, such as `model.theta=0.25 seed=1`; a file of a group is chosen as
`GROUP=NAME`, such as `model=plain`. `python -m fpcn_lightning --cfg job` prints every key with its value, and
`--help GROUP` a line for each file of a group. This page is made from `fpcn_lightning/config.py` and `conf/` when the
documentation is built.

"""
SCHEMA = """\
## Schema

The keys that exist in every run, with their types. A group or a recipe may set another value than the default here.

"""
_TITLE = "| key | default | meaning |\n|---|---|---|\n"


class Key(NamedTuple):
    """A line of a table.

    Attributes:
        name: dotted, below the section of the table.
        default: as it is written.
        meaning: of the comment next to it.
    """

    name: str
    default: str
    meaning: str


class Section(NamedTuple):
    """A dataclass of the schema.

    Attributes:
        meaning: the docstring of the dataclass.
        keys: its fields, in the order of the file; `default` begins with the type.
    """

    meaning: str
    keys: list[Key]


def schema(source: str) -> dict[str, Section]:
    """The dataclasses of a schema by name, from the text of its module: fields, defaults, comments."""
    lines = source.splitlines()
    sections = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            keys = [Key(ast.unparse(item.target), _default(item), _comment(lines, item)) for item in fields]
            sections[node.name] = Section(ast.get_docstring(node) or "", keys)
    return sections


def _default(field: ast.AnnAssign) -> str:
    kind = ast.unparse(field.annotation)
    if field.value is None or ast.unparse(field.value) == "MISSING":
        return kind
    if isinstance(field.value, ast.Call):
        factory = field.value.keywords[0].value
        value = ast.unparse(factory.body) if isinstance(factory, ast.Lambda) else f"{ast.unparse(factory)}()"
        return kind if value in ("dict()", "list()") or value == f"{kind}()" else f"{kind} = {value}"
    return f"{kind} = {ast.unparse(field.value)}"


def _comment(lines: list[str], field: ast.AnnAssign) -> str:
    """The comment after a field, and those of the lines above it."""
    above: list[str] = []
    for line in reversed(lines[: field.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().lstrip("# "))
    last = lines[(field.end_lineno or field.lineno) - 1][field.end_col_offset :]
    return " ".join([*above, last.partition("#")[2].strip()]).strip()


def yaml_keys(path: Path) -> list[Key]:
    """The keys that a yaml file sets, with the comments next to them or above them."""
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return []
    lines = text.splitlines()
    return [key for key in _leaves(root, "", lines) if key.name != "defaults"]


def based_on(path: Path) -> list[str]:
    """The other files that a yaml file is based on, as they are chosen on the command line."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    found = []
    for entry in loaded.get("defaults", []):
        if isinstance(entry, dict):
            ((group, name),) = entry.items()
            found.append(f"{group.removeprefix('override ').lstrip('/')}={name}")
        elif entry != "_self_":
            found.append(f"{path.parent.name}={entry}")
    return found


def _leaves(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value and name != "defaults":
            yield from _leaves(value, f"{name}.", lines)
        else:
            yield Key(name, _text(value), _yaml_comment(lines, key, value))


def _text(node: yaml.Node) -> str:
    text: str = node.start_mark.buffer[node.start_mark.index : node.end_mark.index]
    return re.sub(r"\s+", " ", re.sub(r"\s+#.*", "", text)).strip()


def _yaml_comment(lines: list[str], key: yaml.Node, value: yaml.Node) -> str:
    first = key.start_mark.line
    above: list[str] = []
    for line in reversed(lines[1:first]):
        if not line.startswith(" ") or not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().lstrip("# "))
    end = value.end_mark
    after = lines[end.line][end.column :] if end.line < len(lines) and isinstance(value, yaml.ScalarNode) else ""
    if not after:
        after = lines[first].partition(" #")[2]
    return " ".join([*above, after.strip().lstrip("# ")]).strip()


def page() -> str:
    """The whole page in Markdown."""
    return INTRODUCTION + _schema_text() + "\n".join(map(_group_text, _groups()))


def _schema_text() -> str:
    sections = schema((PACKAGE / "config.py").read_text(encoding="utf-8"))
    titles = {name: title for title, name in _paths(sections)}
    parts = [SCHEMA]
    for title, name in _paths(sections):
        section = sections[name]
        heading = f"### `{title}`" if title else "### Top level"
        rows = [
            Key(f"{title}.{key.name}" if title else key.name, key.default, key.meaning or _section_of(key, titles))
            for key in section.keys
        ]
        parts.append(f"{heading}\n\n{section.meaning}\n\n{_table(rows)}\n")
    return "".join(parts)


def _section_of(key: Key, titles: dict[str, str]) -> str:
    """What is said about a key without a comment: the section that describes it."""
    for name, title in titles.items():
        if re.search(rf"\b{name}\b", key.default):
            return f"section `{title}`"
    return ""


def _paths(sections: dict[str, Section]) -> list[tuple[str, str]]:
    """Dotted name and dataclass of each section, beginning with the top level."""
    found = [("", "Config")]
    for title, name in found:
        for key in sections[name].keys:
            for other in sections:
                if re.search(rf"\b{other}\b", key.default.partition(" = ")[0]):
                    found.append((f"{title}.{key.name}".lstrip("."), other))
    return found


def _groups() -> list[str]:
    return sorted({path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*/*.yaml")})


def _group_text(group: str) -> str:
    parts = [f"## `{'+' if group in ADDED else ''}{group}`\n\n"]
    for path in sorted((CONF / group).glob("*.yaml")):
        keys = yaml_keys(path)
        chosen = f"{'+' if group in ADDED else ''}{group}={path.stem}"
        # The keys of a file without this mark are below the name of its group.
        prefix = "" if path.read_text(encoding="utf-8").startswith("# @package _global_") else f"{group}."
        table = _table([key._replace(name=prefix.replace("/", ".") + key.name) for key in keys]) if keys else ""
        bases = ", ".join(f"`{base}`" for base in based_on(path))
        base = f"Based on {bases}.\n\n" if bases else ""
        parts.append(f"### `{chosen}`\n\n{first_comment(path)}\n\n{base}{table}\n")
    return "".join(parts)


def _table(keys: list[Key]) -> str:
    return _TITLE + "".join(
        f"| `{key.name}` | {f'`{key.default}`' if key.default else ''} | {_text_cell(key.meaning)} |\n" for key in keys
    )


def _text_cell(text: str) -> str:
    """Text in a table: outside code, a bar is no border and brackets are no links."""
    return re.sub(r"`[^`]*`|[|\[\]]", lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", text)
