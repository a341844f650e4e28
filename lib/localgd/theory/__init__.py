"""Rates, costs and worst cases of local gradient descent, beside the runs that they bound."""

from localgd.theory.any_nodes import worst_case_any_nodes
from localgd.theory.contraction import contraction_factor
from localgd.theory.decay import (
    DecayFit,
    ExactRate,
    Geometric,
    PowerLaw,
    PowerLawIntegral,
    Progress,
    fit_decay,
)
from localgd.theory.fewest_rounds import fewest_rounds, round_map
from localgd.theory.hard_subspaces import hard_subspaces
from localgd.theory.tradeoff import optimal_steps_linear, optimal_steps_power, total_cost
from localgd.theory.worst_case import WorstCase, worst_case

__all__ = [
    "DecayFit",
    "ExactRate",
    "Geometric",
    "PowerLaw",
    "PowerLawIntegral",
    "Progress",
    "WorstCase",
    "contraction_factor",
    "fewest_rounds",
    "fit_decay",
    "hard_subspaces",
    "optimal_steps_linear",
    "optimal_steps_power",
    "round_map",
    "total_cost",
    "worst_case",
    "worst_case_any_nodes",
]
