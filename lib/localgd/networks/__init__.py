"""Any `torch.nn.Module` as a problem, with one flat vector of parameters a node."""

from localgd.networks.models import LeNet, ResNet18, SoftmaxLayer, seeded
from localgd.networks.problem import NetworkProblem

__all__ = ["LeNet", "NetworkProblem", "ResNet18", "SoftmaxLayer", "seeded"]
