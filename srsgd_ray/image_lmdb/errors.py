"""The one error that data raise."""

__all__ = ["DataError"]


class DataError(ValueError):
    """Data that is missing or damaged; the message says which file was expected where."""
