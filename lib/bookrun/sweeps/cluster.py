"""Points on a Dask cluster: one of this machine's own by default, any other by its address."""

import contextlib
import logging
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bookrun.errors import BookError
from bookrun.sweeps.points import FAILED, Found
from bookrun.sweeps.task import TOPIC, Assignment, Delivery, code_digest, run_point

if TYPE_CHECKING:
    from distributed import Client

_SETTINGS = {
    # A worker holds no point that it is not running, so that its death costs that one alone.
    "distributed.scheduler.worker-saturation": 1.0,
    # A point that has killed two workers is the cause, and not their victim.
    "distributed.scheduler.allowed-failures": 1,
    # Ctrl-C is meant for the sweep, which ends its workers in good order.
    "distributed.worker.preload": ["bookrun.sweeps.undisturbed"],
    "distributed.admin.low-level-log-length": 0,
}
_ANSWER_SECONDS = 10
_WORKERS_SECONDS = 60


@contextlib.contextmanager
def connected(scheduler: str | None, workers: int) -> "Iterator[Client]":
    """A client of the cluster at ``scheduler``, or of one with so many workers on this machine.

    Raises ``BookError`` where no scheduler answers, where it has no workers, and where they have
    another library than this process.
    """
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(dask.config.set(_SETTINGS))
            directory = tempfile.TemporaryDirectory(
                prefix="bookrun-dask-", ignore_cleanup_errors=True
            )
            scratch = stack.enter_context(directory)
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
                    local_directory=scratch,
                    silence_logs=logging.CRITICAL,
                )
            )
            yield stack.enter_context(Client(cluster))
            return
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
        found: dict[str, Any] = client.run(code_digest, on_error="return")
    except ImportError as error:
        raise BookError(f"SCHEDULER={scheduler}: its workers lack this library: {error}") from None
    expected = code_digest()
    other = sorted(worker for worker, code in found.items() if code != expected)
    if other:
        raise BookError(
            f"SCHEDULER={scheduler}: {', '.join(other)} cannot run this lib/ as it stands: give "
            "the workers the same checkout and environment"
        )


def deliveries(client: "Client", assignments: Sequence[Assignment]) -> Generator[Delivery]:
    """What each point found, in the order in which they end.

    A point whose worker is killed is run once more, by Dask; one that fails here as well is
    delivered as failed. Leaving the iterator early gives up the points that are not done.
    """
    from distributed import as_completed

    starts: Counter[str] = Counter()
    client.subscribe_topic(TOPIC, lambda event: starts.update([event[1]["start"]]))
    futures = [
        client.submit(run_point, assignment, key=f"bookrun-{assignment.id}", pure=False)
        for assignment in assignments
    ]
    names = {
        future.key: assignment.id for future, assignment in zip(futures, assignments, strict=True)
    }
    left = set(futures)
    del futures
    try:
        for future in as_completed(list(left)):
            left.discard(future)
            name = names[future.key]
            if future.status == "finished":
                delivery: Delivery = future.result()
                attempts = max(starts[name], delivery.found.attempts)
                yield replace(delivery, found=replace(delivery.found, attempts=attempts))
            else:
                error = _worded(future.exception())
                yield Delivery(name, Found(FAILED, 0.0, max(starts[name], 1), error), {})
            future.release()
    finally:
        if left:
            client.cancel(list(left), force=True)
        client.unsubscribe_topic(TOPIC)


def _worded(error: BaseException | None) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "its worker was killed, and the next one as well"
    return f"{type(error).__name__}: {error}"
