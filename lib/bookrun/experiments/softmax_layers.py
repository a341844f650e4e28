"""The two networks of Figure 3: a softmax layer on the pixels of MNIST, and on what pooling leaves.

Max-pooling has no parameters, so that the second network is the first on smaller images.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from localgd import NetworkProblem, datasets
from localgd.networks import SoftmaxLayer, seeded

CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


def pooled(data: datasets.Dataset) -> datasets.Dataset:
    """Return the same samples after two 2×2 max-poolings: 28×28 pixels become 7×7."""
    images = torch.as_tensor(data.features)
    return replace(data, features=max_pool2d(max_pool2d(images, 2), 2).numpy())


def smoothness(data: datasets.Dataset, num_nodes: int, seed: int | None = None) -> float:
    """max L_i with L_i = λ_max((1/n_i) Σ_j u_j u_jᵀ)/2, a one appended to each sample u_j.

    The Hessian of cross-entropy in the logits, diag(p) − ppᵀ, is at most ½.  `seed`: of the split;
    None is file order.
    """
    shares = data.split(num_nodes, seed)[0]
    flat = [share.reshape(len(share), -1).astype(float) for share in shares]
    blocks = [np.hstack([u, np.ones((len(u), 1))]) for u in flat]
    return max(float(np.linalg.norm(u, 2)) ** 2 / (2 * len(u)) for u in blocks)


def network(
    data: datasets.Dataset,
    num_nodes: int,
    seed: int = 0,
    layer: Callable[[int], nn.Module] = SoftmaxLayer,
    loss: nn.Module | Callable[..., torch.Tensor] = CROSS_ENTROPY,
) -> NetworkProblem:
    """Return the layer on these samples, dealt to the nodes.

    `seed`: of PyTorch's initial weights and of the split; 0 keeps the file order.
    """
    module = seeded(lambda: layer(data.features.shape[-1]), seed)
    return NetworkProblem(module, *data.split(num_nodes, seed or None), loss, data=data.source)
