"""For all tests: a PostgreSQL for those that want one, and no skips where everything is said to be installed."""

import os
from collections.abc import Iterator

# As the command does it: threads of the numerics library would spin for work that takes microseconds.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

from tests import postgres

_missing: list[str] = []

# How long an example takes says how busy the machine is, nothing about the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


def pytest_configure() -> None:
    """A misspelt value would let tests be skipped in silence."""
    if os.environ.get(postgres.REQUIRED, "") not in ("", "all"):
        raise pytest.UsageError(
            f"{postgres.REQUIRED}={os.environ[postgres.REQUIRED]!r}: 'all', which makes tests of a store that is not "
            "there fail, or nothing, which skips them"
        )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL with pgvector; started when the first test asks for it."""
    with postgres.server() as url:
        yield url


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember tests that were skipped for want of a package."""
    _remember(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """The same for whole modules."""
    _remember(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """`CI` says that all packages are there: nothing may be passed over in silence for want of one."""
    if os.environ.get("CI") and _missing:
        print("\nskipped for want of a package, which counts as a failure in CI:", *_missing, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _remember(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and "could not import" in str(report.longrepr):
        _missing.append(report.nodeid)
