"""The paper's data sets: found or fetched, checked, and never quietly replaced.

Where a data set is neither on this machine nor to be had from its home, a stand-in made of
what a dependency ships takes its place, and `Dataset.source` says so to whoever uses it.
"""

from localgd.datasets.cifar import cifar10
from localgd.datasets.dataset import Dataset, Source
from localgd.datasets.idx import mnist
from localgd.datasets.libsvm import colon_cancer
from localgd.datasets.registry import fingerprint, names, prefetch

__all__ = [
    "Dataset",
    "Source",
    "cifar10",
    "colon_cancer",
    "fingerprint",
    "mnist",
    "names",
    "prefetch",
]
