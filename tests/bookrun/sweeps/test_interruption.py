"""A signal in the middle of a sweep is an exception at a moment at which nothing is half done."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from bookrun.sweeps.interruption import held_back, shielded


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_next_pause(number: signal.Signals) -> None:
    lock, reached = threading.Lock(), []
    with pytest.raises(KeyboardInterrupt), held_back() as pause:  # noqa: PT012
        pause()
        with lock:
            os.kill(os.getpid(), number)
            reached.append("the end of what was begun")
        pause()
        reached.append("what comes after")
    assert reached == ["the end of what was begun"]
    assert not lock.locked()


def test_a_signal_after_the_last_pause_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():
        os.kill(os.getpid(), signal.SIGINT)


def test_what_answered_before_answers_again() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with held_back():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_third_signal_is_not_held_back() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_error_that_a_signal_has_caused_is_the_interruption() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("Nanny failed to start.")
    with pytest.raises(RuntimeError, match="for another reason"), held_back():
        raise RuntimeError("it failed for another reason")


def test_what_a_shielded_thread_starts_is_not_reached_by_an_interruption() -> None:
    go, found = threading.Event(), []

    def work() -> None:
        go.wait()
        process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(3600,))
        process.start()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)  # while it starts
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGUSR1)
        process.join()
        found.append(process.exitcode)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with shielded():
        thread = threading.Thread(target=work)
        thread.start()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    go.set()
    thread.join()
    assert found == [-signal.SIGUSR1]


def test_another_thread_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with held_back() as pause:
            pause()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
