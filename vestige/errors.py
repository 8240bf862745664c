"""The two ways in which Vestige tells a person that something went wrong."""


class UsageError(Exception):
    """Bad input or a machine that lacks something: what was found, what was expected, next step.

    The command line prints `vestige: MESSAGE` and exits with status 2.
    """

    has_lines = False  # whether an end of line in the text is one


class GuestError(Exception):
    """A guest, its monitor or the software host failed. The command line exits with status 1."""

    has_lines = False  # whether an end of line in the text is one
