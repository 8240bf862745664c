"""The words of a command line: what a command takes, its help, and what was given.

argparse does more, and importing it takes longer than starting a guest's machine does.
"""

from _collections_abc import Callable, Sequence

from vestige.errors import UsageError

HELP = ("-h", "--help")
INDENT = 24  # columns of the options' names
WIDTH = 100


class Option:
    """One `--name`; a flag where there is no `metavar`, else it takes a word.

    The last of several words counts, unless the option is `repeated`. Where it means a value of a
    record, `field` names that value, and `read` makes it of all words that were given.
    """

    __slots__ = ("field", "help", "metavar", "name", "read", "repeated", "required")

    def __init__(
        self,
        name: str,
        metavar: str = "",
        *,
        help: str,  # noqa: A002 - the word for it
        required: bool = False,
        repeated: bool = False,
        field: str = "",
        read: "Callable[[list[str]], object] | None" = None,
    ) -> None:
        self.name, self.metavar, self.help = name, metavar, help
        self.required, self.repeated = required, repeated
        self.field, self.read = field, read or _last

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"{self.name} {self.metavar}".rstrip()


def _last(words: list[str]) -> object:
    return words[-1]


def last(read: Callable[[str], object]) -> Callable[[list[str]], object]:
    """For Option.read: what `read` makes of the last word."""
    return lambda words: read(words[-1])


def only(name: str, read: Callable[[str], object], why: str) -> Callable[[list[str]], object]:
    """For Option.read: what `read` makes of the word, of which more than one is no mistake of
    a script's that puts its own last, but of somebody who wants two.
    """

    def read_one(words: list[str]) -> object:
        if len(words) > 1:
            raise UsageError(f"{name} {' and '.join(words)}: {why}")
        return read(words[0])

    return read_one


def each(read: Callable[[str], object]) -> Callable[[list[str]], object]:
    """For Option.read: a tuple of what `read` makes of each word."""
    return lambda words: tuple(map(read, words))


def given(_words: list[str]) -> bool:
    """For Option.read: a flag's value."""
    return True


def choice(name: str, words: Sequence[str], field: str, *, help: str) -> Option:  # noqa: A002
    """An option that takes one of `words`."""

    def read(word: str) -> str:
        if word not in words:
            raise UsageError(f"{name} {word}: there are {', '.join(words)}")
        return word

    return Option(name, "|".join(words), help=help, field=field, read=last(read))


def path(name: str, metavar: str = "PATH", *, help: str, required: bool = False) -> Option:  # noqa: A002
    """An option that takes a file's path, for the field of its name."""

    def read(word: str) -> str:
        if not word:
            raise UsageError(f"{name}: an empty path; give that of a file")
        return word

    field = name.lstrip("-")
    return Option(name, metavar, help=help, required=required, field=field, read=last(read))


class Arguments:
    """The words a command was given, by option; `rest` are those behind `--`, or of no option.

    `order`: all, as they were given, each with its option's name or "".
    """

    __slots__ = ("_words", "order", "rest")

    def __init__(
        self, words: dict[str, list[str]], rest: list[str], order: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._words, self.rest, self.order = words, rest, order

    def all(self, name: str) -> list[str]:
        """Every word given with the option `name`."""
        return self._words.get(name, [])

    def last(self, name: str) -> str | None:
        """The last word given with the option `name`, if any."""
        return self._words[name][-1] if name in self._words else None

    def has(self, name: str) -> bool:
        """Whether the option `name` was given."""
        return name in self._words


class Syntax:
    """What one command takes: `options`, and further words if there is a name for them, `rest` or
    `names`.
    """

    def __init__(
        self,
        options: Sequence[Option] = (),
        *,
        rest: str = "",
        names: str = "",
        note: str = "",
        refused: dict[str, str] | None = None,
    ) -> None:
        """`rest` is a command's, behind --; `names` need that only to begin with -.

        `note` ends the help. `refused`: options of another command's that this can't have, and why.
        """
        self._refused = refused or {}
        self.options = tuple(options)
        self._by_name = {option.name: option for option in self.options}
        self._required = [option.name for option in self.options if option.required]
        self.rest = rest or names
        self._usage = f"-- {rest}" if rest else names
        self.note = note

    def read(self, words: Sequence[str]) -> Arguments:
        """Sort `words`. Raises UsageError for an unknown option, or one that lacks its word.

        A word that starts with -- is taken as an option; as an option's word it needs the form
        --name=word.
        """
        options = self._by_name
        given: dict[str, list[str]] = {}
        rest: list[str] = []
        unknown: list[str] = []
        order: list[tuple[str, str]] = []
        left = list(words)
        while left:
            word = left.pop(0)
            name, equals, value = word.partition("=")
            if word == "--":
                rest += left
                order += [("", word) for word in left]
                break
            if name in options:
                if options[name].metavar and not equals:
                    if not left or left[0].startswith("--"):
                        raise UsageError(self._missing(name, left))
                    value = left.pop(0)
                elif equals and not options[name].metavar:
                    raise UsageError(f"argument {name}: takes no word, not {value!r}")
                given.setdefault(name, []).append(value)
                order.append((name, value))
            elif self.rest and (word == "-" or not word.startswith("-")):
                rest.append(word)
                order.append(("", word))
            else:
                unknown.append(word)
        for word in unknown:
            if (name := word.partition("=")[0]) in self._refused:
                raise UsageError(f"{word}: {self._refused[name]}")
        if unknown or (rest and not self.rest):
            wrong = unknown if self.rest else unknown + rest
            raise UsageError(f"unrecognized arguments: {' '.join(wrong)}")
        if missing := [name for name in self._required if name not in given]:
            raise UsageError(f"the following arguments are required: {', '.join(missing)}")
        return Arguments(given, rest, order)

    def values(self, arguments: Arguments) -> "dict[str, object]":
        """What was given, by the options' fields. Raises UsageError as their readers do."""
        return {
            option.field: option.read(arguments.all(option.name))
            for option in self.options
            if option.field and arguments.has(option.name)
        }

    def words(self, arguments: Arguments) -> list[str]:
        """Words that mean the same, but for the `rest`."""
        return [
            f"{option.name}={word}" if option.metavar else option.name
            for option in self.options
            for word in arguments.all(option.name)
        ]

    def _missing(self, name: str, left: Sequence[str]) -> str:
        """What to say of an option without a word, before the words in `left`."""
        line = f"argument {name}: expected one argument"
        if not left or left[0].partition("=")[0] in (*self._by_name, *HELP):
            return line
        import shlex  # noqa: PLC0415 - for an error alone

        return f"{line}; one that begins with -- is given as {name}={shlex.quote(left[0])}"

    def help(self, program: str, summary: str) -> str:
        """What `program --help` prints."""
        usage = ["usage:", program]
        for option in self.options:
            usage.append(option.usage if option.required else f"[{option.usage}]")
            usage[-1] += "..." if option.repeated else ""
        usage += [self._usage] if self._usage else []
        rows = [(option.usage, option.help) for option in self.options]
        lines = [*_folded(" ".join(usage), "  "), "", f"{summary[:1].upper()}{summary[1:]}.", ""]
        lines += table("options", [("-h, --help", "show this"), *rows])
        return "\n".join([*lines, "", *_folded(self.note, "")]).rstrip() + "\n"


def table(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of names and what they mean."""
    lines = [f"{title}:"]
    for name, meaning in rows:
        first, *more = _folded(meaning, "", WIDTH - INDENT)
        if len(name) + 4 > INDENT:
            lines.append(f"  {name}")
            more.insert(0, first)
        else:
            lines.append(f"  {name:<{INDENT - 2}}{first}")
        lines += [f"{'':<{INDENT}}{line}" for line in more]
    return lines


def _folded(text: str, indent: str, width: int = WIDTH) -> list[str]:
    import textwrap  # noqa: PLC0415 - for help alone

    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [""]
