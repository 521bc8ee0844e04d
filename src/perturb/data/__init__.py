"""Data sets, their fixed splits, and feeding them to a model.

`perturb.data.feeding` is imported by itself: it needs torch, and nothing else here does.
"""

from perturb.data.dataset import Dataset, Images
from perturb.data.prepared import PreparedData, load, prepare, read_manifest
from perturb.data.registry import DATASETS

__all__ = ["DATASETS", "Dataset", "Images", "PreparedData", "load", "prepare", "read_manifest"]
