"""What every test shares: the Hypothesis profile, the cores, and Ctrl-C."""

import os
import signal

from hypothesis import HealthCheck, Phase, settings

# Test processes side by side share the cores: PyTorch's threads spin while they wait, and with
# more of them than cores everything crawls.  Set before anything imports PyTorch.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _workers > 1:
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // _workers))

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["bookrun.ledger.pytest_plugin"]

settings.register_profile(
    "book",
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# a mutated statement has to fail, by whichever example
settings.register_profile(
    "mutated",
    parent=settings.get_profile("book"),
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
)
settings.load_profile("mutated" if "BOOKRUN_MUTATION" in os.environ else "book")
