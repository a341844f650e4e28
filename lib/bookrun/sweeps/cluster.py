"""Points on a Dask cluster: one of this machine's own by default, any other by its address."""

import contextlib
import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bookrun.errors import BookError
from bookrun.files import scratch
from bookrun.sweeps.interruption import shielded
from bookrun.sweeps.points import FAILED, Found
from bookrun.sweeps.task import TOPIC, Assignment, Delivery, KilledError, library_digest, run_point

if TYPE_CHECKING:
    from distributed import Client, Future

#: A point that was killed is run so often again.
_RETRIES = 1
_SETTINGS = {
    # A worker holds no point that it is not running, so that its death costs that one alone.
    "distributed.scheduler.worker-saturation": 1.0,
    # A point that has killed two workers is the cause, and not their victim.
    "distributed.scheduler.allowed-failures": _RETRIES,
    # Ctrl-C is meant for the sweep, which ends its workers in good order.
    "distributed.worker.preload": ["bookrun.sweeps.undisturbed"],
    "distributed.admin.low-level-log-length": 0,
}
#: The setting of what a worker finds in its environment when it starts.
_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
#: What Dask warns of where a machine is busy with other things.
_SLOW = "Creating scratch directories is taking a surprisingly long time"
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 10
_WORKERS_SECONDS = 60


@contextlib.contextmanager
def connected(scheduler: str | None, workers: int) -> "Iterator[Client]":
    """Yield a client of the cluster at ``scheduler``, or of one with so many workers here.

    Raises ``BookError`` where no scheduler answers, where it has no workers, and where they have
    another library than this process.
    """
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import silence_logging_cmgr

    with contextlib.ExitStack() as stack:
        if scheduler is None:
            directory = str(stack.enter_context(scratch("dask-")))
            settings = {**_SETTINGS, "temporary-directory": directory}
            unsaid = [os.environ.get("PYTHONWARNINGS"), f"ignore:{_SLOW}:UserWarning"]
            settings[f"{_ENVIRONMENT}.PYTHONWARNINGS"] = ",".join(filter(None, unsaid))
            stack.enter_context(dask.config.set(settings))
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", _SLOW, UserWarning)
            with shielded():
                cluster = stack.enter_context(
                    LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        # any free port: a fixed one may be another cluster's, and Dask warns of it
                        dashboard_address="127.0.0.1:0",
                        scheduler_kwargs={"dashboard": False},
                        memory_limit=0,  # a chapter runs beside its worker, not inside it
                        local_directory=directory,
                        silence_logs=logging.CRITICAL,
                    )
                )
            yield stack.enter_context(Client(cluster))
            return
        # What the client has to say of a scheduler that goes, `deliveries` says in a sentence.
        stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        try:
            client = stack.enter_context(Client(scheduler, timeout=_ANSWER_SECONDS))
        except (OSError, ValueError) as error:
            raise BookError(f"SCHEDULER={scheduler}: no scheduler answers: {error}") from None
        try:
            client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
        except TimeoutError:
            raise BookError(
                f"SCHEDULER={scheduler}: it has no workers: dask worker {scheduler} --nthreads 1"
            ) from None
        _refuse_other_code(client, scheduler)
        yield client


def _refuse_other_code(client: "Client", scheduler: str) -> None:
    try:
        found: dict[str, Any] = client.run(library_digest, on_error="return")
    except ImportError as error:
        raise BookError(f"SCHEDULER={scheduler}: its workers lack this library: {error}") from None
    expected = library_digest()
    other = sorted(worker for worker, code in found.items() if code != expected)
    if other:
        raise BookError(
            f"SCHEDULER={scheduler}: {', '.join(other)} cannot run this lib/ as it stands: give "
            "the workers the same checkout and environment"
        )


def deliveries(
    client: "Client", assignments: Sequence[Assignment], pause: Callable[[], None]
) -> Generator[Delivery]:
    """Yield what each point found, in the order in which they end.

    A point whose worker, process or kernel is killed is run once more, by Dask; one that is killed
    again is delivered as failed. ``pause`` is called between them and while there are none.
    Leaving the iterator early gives up the points that are not done.

    Raises ``BookError`` where the cluster loses points, or cannot run them: those are no results.
    """
    starts: Counter[str] = Counter()
    client.subscribe_topic(TOPIC, lambda event: starts.update([event[1]["start"]]))
    pending = {
        client.submit(
            run_point, assignment, key=f"bookrun-{assignment.id}", pure=False, retries=_RETRIES
        ): assignment.id
        for assignment in assignments
    }
    try:
        while pending:
            # A future knows by itself how it stands. Waiting for one would take locks that an
            # interruption can leave taken.
            done = [future for future in pending if future.status != "pending"]
            for future in done:
                delivery = _delivery(future, pending.pop(future))
                attempts = max(starts[delivery.id], delivery.found.attempts)
                yield replace(delivery, found=replace(delivery.found, attempts=attempts))
                future.release()
            pause()
            if not done:
                time.sleep(_POLL_SECONDS)
    finally:
        if pending and client.status == "running":
            client.cancel(list(pending), force=True)
        if client.status == "running":
            client.unsubscribe_topic(TOPIC)


def _delivery(future: "Future[Delivery]", point: str) -> Delivery:
    from distributed import KilledWorker

    if future.status == "finished":
        delivery: Delivery = future.result()
        return delivery
    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledError):
        found = replace(error.delivery.found, attempts=1 + _RETRIES)
        return replace(error.delivery, found=found)
    if isinstance(error, KilledWorker):
        found = Found(FAILED, 0.0, 1 + _RETRIES, "its worker was killed, and the next one as well")
        return Delivery(point, found, {})
    what = f"{type(error).__name__}: {error}" if error else "the Dask scheduler has gone"
    raise BookError(
        f"the sweep was broken off: {what}. What had ended is kept; the same command goes on"
    )
