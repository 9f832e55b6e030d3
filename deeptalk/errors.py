"""The one exception that users see."""


class UserError(ValueError):
    """Bad input from a user: the message says what was given, what was expected and what to do.

    The command line prints it as one sentence and exits with code 2.
    """
