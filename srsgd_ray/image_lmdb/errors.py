"""The one error that data raise."""


class DataError(ValueError):
    """Data that is missing or damaged; the message says which file was expected where."""
