"""Where the time of a LeNet step goes."""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from bench.contenders import Work


def shares(work: Work, repeats: int = 10) -> dict[str, float]:
    """The shares of an operation's time in all time on the CPU: convolutions, and pooling."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(repeats):
            work()
    events = recorded.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    return {
        name: round(sum(e.self_cpu_time_total for e in events if name in e.key) / total, 3)
        for name in ("convolution", "max_pool2d")
    }
