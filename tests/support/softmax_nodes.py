"""Random nodes that train one softmax layer, and the courses of their losses."""

import numpy as np
from hypothesis import strategies as st

from softmax import Share, loss, margins, one_round


@st.composite
def federations(draw, separable=True):
    """Nodes with a few samples each, labelled by one layer W with margins of at least 1."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m, p, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(2, 4))
    W, nodes = rng.standard_normal((classes, p)), []
    for _ in range(m):
        U = rng.standard_normal((draw(st.integers(1, 5)), p)) * 10 ** rng.uniform(-1, 1)
        labels = np.argmax(U @ W.T, axis=1)
        nodes.append(Share(U, labels if separable else rng.integers(0, classes, len(U))))
    least = min(margins(W, *share).min() for share in nodes) if separable else 1.0
    return nodes, W / max(least, 1e-6), rng.standard_normal((classes, p))


def course(nodes, x, eta, steps, rounds):
    """The mean local losses and f(x_n) of every round."""
    local, losses = [], []
    for _ in range(rounds):
        done = one_round(x, nodes, eta, steps)
        local.append(done.mean_local)
        losses.append(done.loss)
        x = done.x
    return np.array(local), np.array(losses)


def mean_loss(W, nodes):
    return float(np.mean([loss(W, share) for share in nodes]))
