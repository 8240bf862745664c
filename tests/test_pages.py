"""What a page or a docstring points to is there: files, tests in them, pages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("vestige", "tests", "bench", "docs", "examples")
FILES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
TOLD = "CHANGELOG.md"  # what was is not looked for
PAGES = [
    path for path in (*ROOT.glob("*.md"), *FILES) if path.suffix == ".md" and path.name != TOLD
]
SOURCE = re.compile(r"`(?:\.\./)*([\w/-]+\.(?:py|s))(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
PAGE = re.compile(r"\bdocs/[a-z0-9/_-]+\.md")


def named(name: str) -> Iterator[Path]:
    """The files that a page may mean: it leaves out folders that its reader is in."""
    return (path for path in FILES if f"/{path.relative_to(ROOT)}".endswith(f"/{name}"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_and_tests_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    for name, test in SOURCE.findall(text):
        found = list(named(name))
        assert found, name
        assert not test or any(f"def {test}" in path.read_text() for path in found), test
    for link in LINK.findall(text):
        assert (page.parent / link).exists(), link


def test_the_pages_that_code_names_are_there() -> None:
    for path in FILES:
        if path.suffix == ".py":
            for page in PAGE.findall(path.read_text()):
                assert (ROOT / page).exists(), f"{path}: {page}"
