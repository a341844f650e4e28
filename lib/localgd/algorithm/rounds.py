"""From round to round: what is known at x_n, the rows so far, and where a run can be resumed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localgd.algorithm.communication import OneProcess, Reply, Told
from localgd.algorithm.local_phase import LocalPhase, Within, local_phase
from localgd.algorithm.local_steps import mapped, square_norms
from localgd.algorithm.path_record import Start
from localgd.algorithm.paths import LocalPaths
from localgd.algorithm.rules import Plan, RoundInfo, Rule, check_plan
from localgd.algorithm.servers import Average, Received, Server
from localgd.algorithm.trace import DivergenceError, Recorder, Trace
from localgd.engine.evaluator import Evaluator
from localgd.engine.replay_check import check_replays
from localgd.problem import Chunk, ClosedForm, ClosedPaths, Problem

#: What to know of every average: x_n, shape (d,) ↦ numbers by name.
Measure = Callable[[Tensor], Mapping[str, float]]


class Snapshot(NamedTuple):
    """A run at a moment from which it can be resumed with the same outcome."""

    rows: int  # how many rows of the record are done
    x: Tensor  # (d,) x_n
    shown: Tensor  # (d,) the model to hand out there, see `Server.shown`
    last_steps: NDArray[np.float64] | None  # (m,) local steps of the round before, of all nodes
    within: Within | None  # how far the round that has begun has come
    frozen: bool
    work: int  # of the evaluator
    compiles: bool
    rule: Mapping[str, Any]  # its state before it plans the round that comes, or has begun
    server: Mapping[str, Any]  # its state before its step in that round


class View(NamedTuple):
    """All that is evaluated at x_n."""

    gradients: Tensor  # ∇f_i(x_n), of the nodes of this process: the first local step's
    start: Start  # of their local paths
    loss: float
    grad_norm_sq: float  # NaN where the gradients were not sent
    local_grad_norm_sq: NDArray[np.float64]  # (m,) ‖∇f_i(x_n)‖², of all nodes


class ServerStep(NamedTuple):
    """The point to which a round has led."""

    x: Tensor  # (d,) x_{n+1}
    view: View  # there
    undone: bool  # whether the server's step was undone, so that x is the average


class Rounds:
    """The run between rounds: x_n, what was evaluated there, and the rows so far."""

    def __init__(
        self,
        problem: Problem,
        rule: Rule,
        etas: NDArray[np.float64],
        x: Tensor,
        leap: ClosedForm | None,
        recorder: Recorder,
        evaluator: Evaluator,
        chunks: list[Chunk],
        measure: Measure | None = None,
        server: Server | None = None,
        trail: ClosedPaths | None = None,
        communication: OneProcess | None = None,
    ) -> None:
        self.problem, self.rule, self.x, self.leap = problem, rule, x, leap
        self.recorder, self.evaluator, self.chunks = recorder, evaluator, chunks
        self.measure, self.server = measure, Average() if server is None else server
        self.communication = communication or OneProcess(problem.num_nodes)
        self.trail = trail
        self.bound = [evaluator.bind(chunk) for chunk in chunks]
        check_replays(problem, self.bound, x)
        self.etas = torch.as_tensor(etas, dtype=x.dtype, device=x.device)[:, None]
        self.last_steps: NDArray[np.float64] | None = None
        self.frozen = False
        self.within: Within | None = None
        self.view: View | None = None  # at x_n
        self.shown = x  # the model to hand out
        self.shown_view: View | None = None
        self.rule_state = copy.deepcopy(rule.state_dict())
        self.safe = self._snapshot(None)

    @property
    def done(self) -> int:
        """Return how many rounds are done."""
        return max(0, len(self.recorder.rows) - 1)

    def resume(self, at: Snapshot) -> None:
        """Take up a run at `at`; the recorder holds its rows already."""
        self.x, self.shown = at.x, at.shown
        self.last_steps, self.within = at.last_steps, at.within
        self.frozen, self.evaluator.work = at.frozen, at.work
        self.rule.load_state_dict(copy.deepcopy(at.rule))
        self.server.load_state_dict(at.server)
        self.rule_state = at.rule
        if at.compiles and not self.evaluator.compiles:
            self.evaluator.compile()
            self.bound = [self.evaluator.bind(chunk) for chunk in self.chunks]
        self.safe = at

    def begin(self) -> None:
        """Evaluate at x_n: at the start, or where a run was taken up."""
        began = time.perf_counter()
        work = self.evaluator.work
        self.view = self.shown_view = self._evaluate(self.x)
        if self.recorder.rows:
            self._check_loss()
            self._show()
            self.evaluator.work = work  # it was counted before the run was stopped
            self._measured()  # what cannot be gone on with is found out now
            self.communication.traffic(0)  # what a run that went on has not sent
            self.communication.times()
        else:
            self._record(None, False, self.communication.traffic(0), began)
            self.safe = self._snapshot(None)

    def round(self, planned: int) -> Iterator[None]:
        """Do one round, or what is left of it; `frozen` says that none can move from now on.

        It stops between local steps, `safe` having moved on.  `planned`: how many rounds are to
        come, this one included.
        """
        assert self.view is not None  # `begin` comes first
        began, own = time.perf_counter(), self.communication.own
        info = RoundInfo(
            self.done + 1,
            self.view.loss,
            self.view.grad_norm_sq,
            self.view.local_grad_norm_sq[own],
            None if self.last_steps is None else self.last_steps[own],
        )
        nodes = self.problem.num_nodes
        plan = check_plan(self.rule.plan(info, nodes), nodes, self.rule)

        places = local_phase(
            self.problem,
            self.evaluator,
            self.bound,
            self.x,
            self.view.gradients,
            self.etas,
            plan,
            self.leap,
            trail=self.trail,
            record=self.view.start if self.rule.wants_paths else None,
            within=self.within,
        )
        try:
            phase = yield from mapped(self._reach, places)
        except KeyboardInterrupt:
            self._give_up()
            raise
        unmoved = torch.equal(phase.x, self.x.expand_as(phase.x))
        told = Told(phase.steps, phase.met, unmoved)
        sending = time.perf_counter()
        reply = self.communication.exchange(
            self.x, phase.x, self.problem.num_buffers, self.server.needs_square_move, told
        )
        sent = time.perf_counter() - sending
        unmoved = reply.told.unmoved
        self.frozen = unmoved and self.rule.constant
        if not unmoved and self.evaluator.reconsider(
            self.bound, (planned - 1) * _known_steps(plan)
        ):
            self.bound = [self.evaluator.bind(chunk) for chunk in self.chunks]
        step = (
            ServerStep(self.x, self.view, False) if unmoved else self._server_step(reply, phase.x)
        )
        self.x, self.view = step.x, step.view
        if self.rule.wants_paths:
            self._tell_rule(phase, reply.told, sending - began, sent)
        self._show()
        self._record(reply.told, step.undone, self._traffic(reply, step, phase.x), began)
        self.last_steps, self.within = reply.told.steps, None
        self.rule_state = copy.deepcopy(self.rule.state_dict())
        self.safe = self._snapshot(None)

    def _reach(self, within: Within) -> None:
        """Let the run be resumed from this place, where all of it is here."""
        if not self.communication.shared:
            self.safe = self._snapshot(within)
        elif self.communication.interrupted:
            raise KeyboardInterrupt

    def _give_up(self) -> None:
        """Tell the other processes of an interrupt, in place of the ends of this round."""
        if self.communication.interrupted:
            m = self.problem.num_nodes
            told = Told(np.zeros(m), None, True)
            self.communication.exchange(
                self.x,
                self.x.expand(m, -1),
                self.problem.num_buffers,
                self.server.needs_square_move,
                told,
            )

    def _tell_rule(
        self, phase: LocalPhase, told: Told, computing: float, communicating: float
    ) -> None:
        """Tell the rule of the round's paths and times: two numbers a node and step, and three."""
        assert phase.path is not None
        longest = phase.path.loss.shape[1]
        if self.communication.shared:
            longest = max(int(told.steps.max()), 1)
        columns = [
            *(_of_width(rows, longest) for rows in phase.path),
            self.etas,
            torch.full_like(self.etas, computing / max(phase.steps.max(), 1)),
            torch.full_like(self.etas, communicating),
        ]
        rows = self.communication.every_node(torch.cat(columns, 1))
        known = rows.cpu().numpy().astype(np.float64)
        self.rule.observe(
            LocalPaths(
                known[:, :longest],
                known[:, longest : 2 * longest],
                known[:, -3],
                known[:, -2].max(),
                known[:, -1].min(),  # of the process that the others have waited for
            )
        )

    def should_stop(self, stop: float | Callable[[Trace], bool] | None) -> bool:
        """Return whether the caller's criterion is met at x_n."""
        if callable(stop):
            return self.communication.decision(bool(stop(self.trace("rounds"))))
        assert self.shown_view is not None
        return stop is not None and self.shown_view.grad_norm_sq <= stop

    def trace(self, reason: str) -> Trace:
        """Return the rows up to `safe`."""
        return self.recorder.trace(self.safe.shown.cpu().numpy(), reason, self.safe.rows)

    def _snapshot(self, within: Within | None) -> Snapshot:
        return Snapshot(
            len(self.recorder.rows),
            self.x,
            self.shown,
            self.last_steps,
            within,
            self.frozen,
            self.evaluator.work,
            self.evaluator.compiles,
            self.rule_state,
            self.server.state_dict(),
        )

    def _server_step(self, reply: Reply, ends: Tensor) -> ServerStep:
        """Take the server's step from x_n, or undo it and take the average."""
        assert self.view is not None
        x = self._of_parameters(
            lambda x, mean: self.server.step(Received(x, mean, reply.mean_square_move)),
            self.x,
            reply.mean,
        )
        if not self.server.safeguard or torch.equal(x, reply.mean):
            return ServerStep(x, self._evaluate(x, ends), False)
        try:
            view = self._evaluate(x, ends)
        except DivergenceError:
            view = None
        if view is not None and view.loss <= self.view.loss:
            return ServerStep(x, view, False)
        self.server.undo()
        return ServerStep(reply.mean, self._evaluate(reply.mean, ends), True)

    def _of_parameters(self, function: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
        """Apply `function` to the parameters; the buffers stay those of the last vector."""
        p = self.problem.dim - self.problem.num_buffers
        if p == self.problem.dim:
            return function(*vectors)
        return torch.cat([function(*(vector[:p] for vector in vectors)), vectors[-1][p:]])

    def _show(self) -> None:
        """Evaluate at the model that is handed out, where that is not x_n."""
        self.shown, self.shown_view = self._of_parameters(self.server.shown, self.x), self.view
        if self.shown is not self.x and not torch.equal(self.shown, self.x):
            self.shown_view = self._evaluate(self.shown)

    def _traffic(self, reply: Reply, step: ServerStep, ends: Tensor) -> int:
        """Return the bytes of the round: of the reply, of the losses compared, of a step undone."""
        size = reply.bytes
        if self.server.safeguard:
            size += self.communication.scalars(ends)
        if step.undone:
            size += self.communication.scalars(ends) + self.communication.vectors(ends)
        return self.communication.traffic(size)

    def _evaluate(self, x: Tensor, ends: Tensor | None = None) -> View:
        """Evaluate at x, the average of the nodes' `ends`."""
        m = self.problem.num_nodes
        if len(self.bound) == 1:
            losses, gradients = self.bound[0].evaluate(x.expand(m, -1))
        else:
            losses, gradients = x.new_empty(m), x.new_empty(m, len(x))
            for bound in self.bound:
                nodes = bound.rows
                losses[nodes], gradients[nodes] = bound.evaluate(x.expand(len(nodes), -1))
        carried = self.problem.num_buffers
        known = Start(losses, square_norms(gradients, carried))
        gradient, losses, norms = self.communication.evaluation(losses, gradients, known[1])
        m = len(losses)  # from here on of all nodes
        square = (
            losses.new_full((1,), torch.nan)
            if gradient is None
            else square_norms(gradient[None], carried)
        )
        # All numbers in one transfer: each would wait for a GPU.
        known_now = torch.cat([losses.mean(0, keepdim=True), square, norms, losses + norms])
        numbers = known_now.cpu().numpy().astype(np.float64)
        if not np.isfinite(numbers[2 + m :]).all():
            raise self._divergence(losses + norms, ends)
        return View(gradients, known, float(numbers[0]), float(numbers[1]), numbers[2 : 2 + m])

    def _check_loss(self) -> None:
        """Raise `ValueError` where nodes of several processes are not those of the checkpoint.

        Their data are compared by the loss at x_n, for no process has them all.
        """
        assert self.view is not None
        there, here = self.recorder.rows[-1]["loss"], self.view.loss
        own = self.x is self.shown or torch.equal(self.x, self.shown)
        rounding = 1e-4 * abs(there) + 1e-6 * abs(self.recorder.rows[0]["loss"])
        if self.communication.shared and own and not abs(here - there) <= rounding:
            raise ValueError(
                f"the checkpoint is of other data: its loss is {there:.6g} after round "
                f"{self.done}, and here it is {here:.6g}"
            )

    def _divergence(self, values: Tensor, ends: Tensor | None) -> DivergenceError:
        """Return the error that names the node to blame for `values` at the average of `ends`.

        It is the one whose own model is not finite; or the one whose value is not, where
        others' are; or the one that went farthest, having pulled the average along.
        """
        strange = ~torch.isfinite(values)
        if ends is not None:
            far = ends.double().square().sum(1)
            whole = torch.isfinite(ends).all(1).double()
            facts = self.communication.every_node(torch.stack([far, whole], 1))
            sizes, lost = facts[:, 0], facts[:, 1] == 0
            if bool(lost.any()):
                strange = lost
            elif bool(strange.all()):
                strange = sizes == sizes.max()
        node = int(strange.nonzero()[0])
        return DivergenceError(len(self.recorder.rows), node, self.trace("diverged"))

    def _record(self, told: Told | None, undone: bool, size: int, began: float) -> None:
        """Add the row of a round; `told`: of all nodes."""
        seconds, m = time.perf_counter() - began, self.communication.num_nodes
        times = self.communication.times()
        dist = None if self.communication.shared else self.problem.distance(self.shown)
        assert self.shown_view is not None
        self.recorder.add(
            loss=self.shown_view.loss,
            grad_norm_sq=self.shown_view.grad_norm_sq,
            dist=None if dist is None else float(dist),
            local_steps=np.zeros(m) if told is None else told.steps,
            met=None if told is None else told.met,
            seconds=seconds,
            seconds_waiting=None if times is None else times.waiting,
            seconds_communicating=None if times is None else times.communicating,
            undone=undone if self.server.safeguard else None,
            bytes=size,
            measures=self._measured(),
        )

    def _measured(self) -> dict[str, float]:
        """Return what the caller wants to know of x_n, or an error that says what is no number."""
        rows = self.recorder.rows
        if self.measure is None:
            if rows and rows[0]["measures"]:
                raise ValueError(
                    f"the run so far has measured {sorted(rows[0]['measures'])}: going on takes "
                    "the same measure"
                )
            return {}
        values = self.measure(self.shown.clone())
        if not isinstance(values, Mapping):
            raise TypeError(
                f"measure returned {type(values).__name__}, expected a mapping of names to numbers"
            )
        before = rows[-1]["measures"] if rows else values
        if set(values) != set(before):
            raise ValueError(
                f"measure returned {sorted(values)} after round {len(rows)} and "
                f"{sorted(before)} before: expected the same names in every round"
            )
        return {str(name): float(values[name]) for name in before}


def _of_width(rows: Tensor, width: int) -> Tensor:
    """Return `rows`, (m, T), cut or filled up with NaN to (m, width)."""
    missing = max(0, width - rows.shape[1])
    return torch.nn.functional.pad(rows[:, :width], (0, missing), value=torch.nan)


def _known_steps(plan: Plan) -> int:
    """Return the steps that a round like this one surely takes."""
    if plan.max_steps is None or plan.grad_tol is not None:
        return 1
    return int(plan.max_steps.max())
