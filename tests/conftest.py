"""What every test shares: the Hypothesis profile."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["bookrun.pytest_plugin"]

settings.register_profile(
    "book",
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("book")
