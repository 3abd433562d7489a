"""The documents name what exists: files, functions and methods, link targets. Imports nothing of the hub."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.commands import ROOT

GUIDES = ("docs/architecture.md", "CONTRIBUTING.md", "README.md")
LINKING = (
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)

FOLDERS = (
    ".ci",
    "benchmarks",
    "conf",
    "docs",
    "jobs",
    "lake",
    "local",
    "models",
    "organize",
    "streaming",
    "tests",
    "web",
)
PLACEHOLDER = "NAME"  # a path with this word is a pattern; only its folder must exist

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_TOKEN = re.compile(r"[^\s`()\[\]|,;\"'=<>#]+")
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(py|md|toml|yml|sh)")
_REFERENCE = re.compile(r"([\w./-]+\.py)(?:: (\w+(?:\.\w+)*))?")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def code_spans(text: str) -> list[str]:
    """Inline code outside of fenced blocks, each on one line."""
    return [" ".join(span.split()) for span in _CODE.findall(_FENCE.sub("", text))]


def named_paths(text: str) -> set[str]:
    """Paths below the checkout's folders anywhere in a text, and names of files in its inline code."""
    tokens = {token.rstrip(".:…") for token in _TOKEN.findall(text)}
    below = {token for token in tokens if "/" in token and token.split("/")[0] in FOLDERS}
    files = {span for span in code_spans(text) if _FILE.fullmatch(span) and not span.startswith("build/")}
    return below | files


def exists(path: str) -> bool:
    """Whether a path of the checkout exists. Of a pattern its folder must; a bare name may lie anywhere."""
    found = ROOT / path
    if PLACEHOLDER in re.split(r"\W|_", found.name):
        return found.parent.is_dir()
    return found.exists() or (
        "/" not in path and any(next((ROOT / each).rglob(path), None) for each in FOLDERS)
    )


def references(text: str) -> Iterator[tuple[str, str]]:
    """The names that a text gives as `path/file.py: function` or `path/file.py: Class.method`."""
    for span in code_spans(text):
        match = _REFERENCE.fullmatch(span)
        if match and match[2]:
            yield match[1], match[2]


@cache
def definitions(path: str) -> frozenset[str]:
    """The functions, classes, methods, fields and constants of a module; none if there is no such file."""
    file = ROOT / path
    return frozenset(_defined(ast.parse(file.read_text()).body, "")) if file.is_file() else frozenset()


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name
            yield from _defined(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (
                prefix + name.id
                for target in targets
                for name in ast.walk(target)
                if isinstance(name, ast.Name)
            )


def links(text: str) -> list[str]:
    """The targets of a text's relative links."""
    prose = _CODE.sub("code", _FENCE.sub("", text))
    found = [inline or listed for inline, listed in _LINK.findall(prose)]
    return [target for target in found if not _SCHEME.match(target)]


def resolves(target: str, document: Path) -> bool:
    """Whether a link leads to a file or folder of the checkout and, with an anchor, to a heading in it."""
    path, _, anchor = unquote(target).partition("#")
    file = (document.parent / path).resolve() if path else document
    if not (file.exists() and file.is_relative_to(ROOT)):
        return False
    return not anchor or (file.suffix == ".md" and anchor in anchors(file.read_text()))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a text."""
    headings = (heading.strip().lower() for heading in _HEADING.findall(_FENCE.sub("", text)))
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", GUIDES)
def test_every_path_that_a_guide_names_exists(document: str) -> None:
    named = named_paths((ROOT / document).read_text())
    assert named
    assert sorted(path for path in named if not exists(path)) == []


@pytest.mark.parametrize("document", GUIDES)
def test_every_function_that_a_guide_names_exists(document: str) -> None:
    named = sorted(set(references((ROOT / document).read_text())))
    assert [f"{path}: {name}" for path, name in named if name not in definitions(path)] == []


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_module_in_a_guide_is_written_so_that_it_is_checked(document: str) -> None:
    spans = [span for span in code_spans((ROOT / document).read_text()) if ".py" in span]
    assert len(spans) > 20
    assert [span for span in spans if not _REFERENCE.fullmatch(span)] == []


@pytest.mark.parametrize("document", LINKING)
def test_every_relative_link_resolves(document: str) -> None:
    path = ROOT / document
    assert [target for target in links(path.read_text()) if not resolves(target, path)] == []


def test_wrong_paths_names_and_links_are_found() -> None:
    text = (
        "`lake/nothing.py`, jobs/nothing.py. and `nothing.py`, `lake/table.py: Table.NOTHING`, "
        "`lake/table.py: Table.UPLOADS`, `jobs/NAME.py`, `nowhere/NAME.py`,\n"
        "[a](nothing.md), [b](docs/architecture.md#nothing), [c](docs/architecture.md#packages), [d](https://a.org/b)\n"
    )
    missing = {path for path in named_paths(text) if not exists(path)}
    assert missing == {"lake/nothing.py", "jobs/nothing.py", "nothing.py", "nowhere/NAME.py"}
    assert [name for path, name in references(text) if name not in definitions(path)] == ["Table.NOTHING"]
    document = ROOT / "README.md"
    assert [link for link in links(text) if not resolves(link, document)] == [
        "nothing.md",
        "docs/architecture.md#nothing",
    ]
