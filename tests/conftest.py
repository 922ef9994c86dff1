"""For all tests: where everything is said to be installed, a missing package is a failure and not a skip."""

import os

import pytest

_missing: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember tests that were skipped for want of a package."""
    _remember(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """The same for whole modules."""
    _remember(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """`CI` is set where `make test` has installed every extra: nothing may be passed over in silence there."""
    if os.environ.get("CI") and _missing:
        print("\nskipped for want of a package, which counts as a failure here:", *_missing, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _remember(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and "could not import" in str(report.longrepr):
        _missing.append(report.nodeid)
