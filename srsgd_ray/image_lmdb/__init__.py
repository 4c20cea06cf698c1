"""Labelled images in LMDB: reads every layout in use, and makes, checks and describes our own."""

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
