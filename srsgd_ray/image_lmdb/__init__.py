"""Labelled images in LMDB: reads every layout in use, and makes, checks and describes our own.

In come a folder tree, a tar, or a database of the original's code, of Caffe's or of ours
(:func:`open_store`, :func:`open_pair`); out go image files and pixels by number
(:class:`~srsgd_ray.image_lmdb.store.Store`), and databases in our layout (:func:`build`,
:func:`convert`; ``layout.py`` says what lies where). ``verify.py`` says what is wrong with which
image. Values are read by offset (``data_file.py``); py-lmdb finds the offsets in a process of its
own, since a damaged file may end the process that maps it (``places.py``, ``scan.py``).
"""

from srsgd_ray.image_lmdb.building import Built, build, convert
from srsgd_ray.image_lmdb.caffe import CaffeStore
from srsgd_ray.image_lmdb.errors import DataError
from srsgd_ray.image_lmdb.folder import FolderStore
from srsgd_ray.image_lmdb.layout import Header
from srsgd_ray.image_lmdb.opening import open_pair, open_store
from srsgd_ray.image_lmdb.original import OriginalStore
from srsgd_ray.image_lmdb.own import ImageLmdb
from srsgd_ray.image_lmdb.prepare import Options
from srsgd_ray.image_lmdb.store import Pixels, Store

__all__ = [
    "Built",
    "CaffeStore",
    "DataError",
    "FolderStore",
    "Header",
    "ImageLmdb",
    "Options",
    "OriginalStore",
    "Pixels",
    "Store",
    "build",
    "convert",
    "open_pair",
    "open_store",
]
