"""A signal in the middle of a sweep is an exception at a moment at which nothing is half done."""

import os
import signal
import threading

import pytest

from bookrun.sweeps.interruption import held_back


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
