"""The one error with which the pipeline tells its user what is wrong."""


class BookError(Exception):
    """A sentence for the user: what is wrong, with the value and the rule it breaks."""
