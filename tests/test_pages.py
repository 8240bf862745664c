"""What a page or a docstring points to is there: files, tests in them, pages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("vestige", "tests", "bench", "docs", "examples")
FILES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
TOLD = "CHANGELOG.md"  # what was is not looked for
PLACES = {f"/{path.relative_to(ROOT)}": path for path in FILES}
PAGES = [
    path for path in (*ROOT.glob("*.md"), *FILES) if path.suffix == ".md" and path.name != TOLD
]
SOURCE = re.compile(r"`(?:\.\./)*([\w/-]+\.(?:py|s))?(?:::(\w+))?`")  # `::test`: of the last file
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="([^"]+)">')
SLOW = re.compile(r"pytest\.mark\.slow\b")
PAGE = re.compile(r"\bdocs/[a-z0-9/_-]+\.md")


def named(name: str) -> Iterator[Path]:
    """The files that a page may mean: it leaves out folders that its reader is in."""
    return (path for place, path in PLACES.items() if place.endswith(f"/{name}"))


def sections(page: Path) -> set[str]:
    """What a link to this page may have behind #, as GitHub makes it of a heading."""
    text = page.read_text()
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in headings} | set(ANCHOR.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_and_tests_that_a_page_names_are_there(page: Path) -> None:
    found: list[Path] = []
    for name, test in SOURCE.findall(page.read_text()):
        if name:
            found = list(named(name))
            assert found, name
        assert not test or any(f"def {test}(" in path.read_text() for path in found), test


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_and_sections_that_a_page_links_to_are_there(page: Path) -> None:
    for name, section in LINK.findall(page.read_text()):
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not section or section in sections(target), f"{name}#{section}"


def test_the_files_with_slow_tests_are_listed() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tests = [(place, path) for place, path in PLACES.items() if path.name.startswith("test_")]
    slow = [place for place, path in tests if SLOW.search(path.read_text())]
    assert slow
    for place in slow:
        assert f"`{place.removeprefix('/tests/')}`" in text, place


def test_the_pages_that_code_names_are_there() -> None:
    for path in FILES:
        if path.suffix == ".py":
            for page in PAGE.findall(path.read_text()):
                assert (ROOT / page).exists(), f"{path}: {page}"
