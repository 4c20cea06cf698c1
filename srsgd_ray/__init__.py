"""Hyperparameter studies of Scheduled Restart SGD (SRSGD), distributed with Ray.

Importing this package imports neither torch nor Ray; the subpackages import what they need.
"""

__version__ = "0.1.0"
