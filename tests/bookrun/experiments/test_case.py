"""A case says what is run, and the catalogue's cases can be run and told apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import recordings
from bookrun.errors import BookError
from bookrun.experiments import case as case_module
from bookrun.experiments import figures
from bookrun.experiments.case import Case, carry_out
from localgd import UntilStationary

TINY = recordings.TINY


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(case_module._DATA, "lenet", recordings.images)
    monkeypatch.setitem(case_module._DATA, "resnet18", _photographs)


def _photographs(split: str, *, first: int, source: str = "auto") -> recordings.Dataset:
    found = recordings.images(split, first=first)
    return replace(found, features=np.repeat(found.features, 3, 1))


@pytest.mark.parametrize("figure", figures.names())
@pytest.mark.parametrize("scale", figures.SCALES)
def test_the_names_of_a_figures_cases_are_unique_and_the_seeds_are_many(
    figure: str, scale: str
) -> None:
    cases = figures.cases(figure, scale)
    assert len({case.name for case in cases}) == len(cases)
    one_seed = scale == "paper" and figure in ("fig4b", "fig8")
    if "-" not in figure and not one_seed:
        assert {case.seed for case in cases} == {0, 1, 2}


def test_at_the_papers_scale_the_settings_are_the_papers() -> None:
    lenet, resnet = figures.cases("fig4a", "paper"), figures.cases("fig4b", "paper")
    for cases, tolerance in ((lenet, 1e-4), (resnet, 1e-2)):
        assert {(case.samples, case.nodes) for case in cases} == {(1000, 10)}
        assert {(case.local_steps, case.grad_tol) for case in cases} >= {
            *((T, None) for T in (1, 10, 100)),
            (None, tolerance),
        }
    assert {case.width for case in resnet} == {64}
    assert {case.nodes for case in figures.cases("fig6", "paper")} == {2, 5}
    full = figures.cases("fig8", "paper")
    assert {(case.samples, case.test_samples) for case in full} == {(60_000, 10_000)}
    assert {case.nodes for case in full} == {5, 10}


def test_a_figure_drawn_from_other_records_names_them() -> None:
    with pytest.raises(BookError, match="fig7 is drawn from the records of fig4a and fig6"):
        figures.cases("fig7", "paper")
    with pytest.raises(BookError, match="FIGURE=fig9 is none of fig4a"):
        figures.cases("fig9", "paper")
    with pytest.raises(BookError, match="SCALE=huge is none of cpu, paper"):
        figures.cases("fig4a", "huge")


def test_the_beginning_of_a_case_costs_no_more_than_asked_but_a_round() -> None:
    case = replace(TINY, rounds=60)
    assert figures.beginning(replace(case, local_steps=1), 200).rounds == 60
    assert figures.beginning(replace(case, local_steps=10), 200).rounds == 20
    assert figures.beginning(replace(case, local_steps=100), 250).rounds == 2
    assert figures.beginning(replace(case, local_steps=100), 50).rounds == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"local_steps": None}, "give one of the two"),
        ({"grad_tol": 1e-4, "max_steps": 9}, "give one of the two"),
        ({"max_steps": 9}, "max_steps=9 goes with grad_tol"),
        ({"network": "vgg"}, "network='vgg' is none of lenet, resnet18"),
        ({"activation": "sin"}, "activation='sin': relu, tanh are known"),
    ],
)
def test_a_case_that_makes_no_sense_says_why(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]


def test_seed_0_deals_in_file_order_and_every_seed_draws_its_own_start() -> None:
    first, second = (case_module.network_problem(replace(TINY, seed=seed)) for seed in (0, 1))
    data = recordings.images("train", first=8)
    assert first.contents()["targets 0"].flatten().tolist() == data.labels.tolist()
    assert second.contents()["targets 0"].flatten().tolist() != data.labels.tolist()
    start, other = (each.flatten(each.module) for each in (first, second))
    assert not np.allclose(start, other)


def test_test_loss_and_accuracy_are_those_of_the_average() -> None:
    case = replace(TINY, rounds=1, test_samples=10)
    trace = carry_out(case)
    module = case_module.network_problem(case).unflatten(trace.x).eval()
    tested = recordings.images("test", first=10)
    logits = module(torch.as_tensor(tested.features)).detach().numpy()
    logits = logits - logits.max(1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -logs[np.arange(10), tested.labels].mean()
    assert trace.measures["test_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert trace.measures["test_accuracy"][-1] == (logs.argmax(1) == tested.labels).mean()


def test_batchnorm_is_tested_with_its_averaged_statistics() -> None:
    case = Case(
        "resnet18", samples=8, nodes=2, step_size=0.1, rounds=1, local_steps=1, width=1,
        test_samples=6,
    )  # fmt: skip
    posed = case_module.network_problem(case)
    module = posed.module.eval()
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(3.0)
    measured = case_module._test_measure(case, posed, "auto")(posed.flatten(module))
    tested = _photographs("test", first=6)
    logits = module(torch.as_tensor(tested.features)).detach()
    labels = torch.as_tensor(tested.labels)
    expected = nn.functional.cross_entropy(logits, labels)
    assert measured["test_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert measured["test_accuracy"] == float((logits.argmax(1) == labels).double().mean())


def test_the_rule_is_the_threshold_where_a_tolerance_is_given() -> None:
    rule = recordings.CASES[1].rule
    assert isinstance(rule, UntilStationary)
    assert (rule.grad_tol, rule.max_steps) == (1e-3, 4)
