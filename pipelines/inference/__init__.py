"""The predictor: raw rows in, predictions out, from one folder that holds everything it needs.

This package is copied into each registered model as `predictor/`, and imported there under a name made from its
digest. It imports nothing of Homeostat, so that a model keeps predicting whatever becomes of the code around it.
Folder: manifest.json, model.ubj (XGBoost) or model.skops, golden.parquet, reference.parquet, facts.json, and
hooks.py where a hook makes the features or the estimator. There is no pickle in it. An ensemble has a folder of
models, members/NAME.ubj or .skops, whose chances (or values) are averaged by the weights of its manifest.
"""

import os

# OpenMP's waiting threads spin by default: on a busy machine a fit of 0.6 s was seen to take 15 s. It is read
# when XGBoost is first imported, which is why it is set here.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from .encoding import align_classes, encode, estimator_table, outputs
from .faults import BadRows, BrokenModel, GoldenMismatch
from .manifest import ENSEMBLE, FORMAT, MEMBERS, Feature, Manifest, MemberManifest, RawColumn, read_manifest
from .predictor import Predictor
from .serving import model_file, model_values, serving_of

__all__ = [
    "ENSEMBLE",
    "FORMAT",
    "MEMBERS",
    "BadRows",
    "BrokenModel",
    "Feature",
    "GoldenMismatch",
    "Manifest",
    "MemberManifest",
    "Predictor",
    "RawColumn",
    "align_classes",
    "encode",
    "estimator_table",
    "model_file",
    "model_values",
    "outputs",
    "read_manifest",
    "serving_of",
]
