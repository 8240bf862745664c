"""How a command line is read."""

import pytest

from vestige.cli.arguments import Arguments, Option, Syntax, choice, each, given, last
from vestige.errors import UsageError

SYNTAX = Syntax(
    (
        Option("--name", "NAME", help="a word"),
        Option("--disk", "PATH", help="words", repeated=True),
        Option("--fast", help="a flag"),
    ),
    rest="COMMAND...",
)


def read(line: str) -> Arguments:
    """What SYNTAX makes of the words in `line`."""
    return SYNTAX.read(line.split())


def test_an_option_takes_the_next_word_or_the_one_behind_an_equals_sign() -> None:
    assert read("--name a").last("--name") == "a"
    assert read("--name=--a=b").last("--name") == "--a=b"
    assert read("--name -1").last("--name") == "-1"


def test_what_is_not_given_is_nothing() -> None:
    given = read("")
    assert (given.last("--name"), given.all("--disk"), given.has("--fast")) == (None, [], False)


def test_the_last_word_counts_or_all_of_them() -> None:
    given = read("--name a --disk b --name c --fast --disk d")
    assert (given.last("--name"), given.all("--disk"), given.has("--fast")) == (
        "c",
        ["b", "d"],
        True,
    )


def test_words_behind_two_dashes_are_a_commands_own() -> None:
    given = read("--name a -- ls --name b -- -l")
    assert (given.last("--name"), given.rest) == ("a", ["ls", "--name", "b", "--", "-l"])
    assert read("ls here --fast").rest == ["ls", "here"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--name", "-- quiet"], "; one that begins with -- is given as --name='-- quiet'"),
        (["--name", "--quiet"], "; one that begins with -- is given as --name=--quiet"),
        (["--name", "--"], "; one that begins with -- is given as --name=--"),
        (["--name", "--disk=a"], ""),
        (["--name", "--fast"], ""),
        (["--name"], ""),
    ],
)
def test_a_word_that_looks_like_an_option_is_told_how_to_be_given(
    words: list[str], hint: str
) -> None:
    with pytest.raises(UsageError) as told:
        SYNTAX.read(words)
    assert str(told.value) == f"argument --name: expected one argument{hint}"


def test_a_short_option_is_none_of_ours() -> None:
    with pytest.raises(UsageError, match=r"unrecognized arguments: -l$"):
        read("ls -l here")


def test_an_option_that_must_be_given_is_missed() -> None:
    with pytest.raises(UsageError, match="the following arguments are required: --kernel"):
        Syntax((Option("--kernel", "PATH", required=True, help="it"),)).read([])


def test_the_help_has_every_option_within_its_width() -> None:
    text = SYNTAX.help("vestige test", "does something")
    assert all(option.usage in text and option.help in text for option in SYNTAX.options)
    assert text.startswith("usage: vestige test [--name NAME] [--disk PATH]... [--fast] -- COMMAND")
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_choice_takes_one_of_its_words_and_names_them_otherwise() -> None:
    syntax = Syntax([choice("--accel", ("auto", "kvm"), "accel", help="where")])
    assert syntax.options[0].usage == "--accel auto|kvm"
    assert syntax.values(syntax.read(["--accel", "auto", "--accel=kvm"])) == {"accel": "kvm"}
    with pytest.raises(UsageError, match="--accel xen: there are auto, kvm"):
        syntax.values(syntax.read(["--accel", "xen"]))


def test_values_are_those_of_the_options_that_were_given() -> None:
    syntax = Syntax(
        [
            Option("--size", "N", field="size", read=last(int), help="how much"),
            Option("--file", "PATH", repeated=True, field="files", read=each(len), help="where"),
            Option("--name", "TEXT", field="name", help="what it is called"),
            Option("--fast", field="fast", read=given, help="soon"),
            Option("--slow", field="slow", read=given, help="later"),
        ]
    )
    words = ["--size", "1", "--size=2", "--file=a", "--file", "bc", "--name=", "--fast"]
    arguments = syntax.read(words)
    expected = {"size": 2, "files": (1, 2), "name": "", "fast": True}
    assert syntax.values(arguments) == expected
    again = syntax.read(syntax.words(arguments))
    assert syntax.values(again) == expected
