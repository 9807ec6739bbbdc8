"""The pytest fixtures as another project uses them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

# pytester unloads what the inner run imports first, and httpx would keep modules that are loaded a second time.
import httpcore  # noqa: F401
import pytest

pytest_plugins = ["pytester"]

PREAMBLE = """
    import os
    import httpx
    from waiter.testing import finishes, never_ends

    def poll(cloud, task_id):
        client, url = cloud.options["client"], cloud.options["base_url"]
        headers = {"Authorization": "apikey " + cloud.options["api_key"]}
        return client.get(f"{url}/cloud/v1/tasks/{task_id}", headers=headers).json()["state"]
"""


Run = Callable[[str], pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a test file with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(test: str) -> pytest.RunResult:
        pytester.makepyfile(PREAMBLE + test)
        return pytester.runpytest_inprocess("-p", "waiter.testing.plugin", "-p", "no:cacheprovider")

    return run


def test_cloud_is_on_virtual_time(run: Run) -> None:
    """The fixture's cloud does not sleep for real, and accepts a test that used all it scripted."""
    result = run(
        """
    def test_it(gcore_cloud):
        task_id = gcore_cloud.add(finishes(3600))
        assert poll(gcore_cloud, task_id) == "RUNNING"
        gcore_cloud.sleep(3600)
        assert poll(gcore_cloud, task_id) == "FINISHED"
    """,
    )
    result.assert_outcomes(passed=1)


def test_cloud_is_strict(run: Run) -> None:
    """A test that passes without using what it scripted gets an error that says so."""
    result = run(
        """
    def test_it(gcore_cloud):
        gcore_cloud.add(finishes(3600), task_id="t")
    """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*AssertionError: the simulated cloud was not used as scripted", "*not polled until its end: create_vm t"]
    )


def test_failed_test_is_not_verified(run: Run) -> None:
    """A test that failed or was skipped gets no second error."""
    result = run(
        """
    import pytest

    def test_fails(gcore_cloud):
        gcore_cloud.add(never_ends())
        assert False

    def test_skips(gcore_cloud):
        gcore_cloud.add(never_ends())
        pytest.skip("later")
    """,
    )
    result.assert_outcomes(failed=1, skipped=1)


def test_server_sets_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that reads the environment reaches the fixture's server, and the environment is restored."""
    monkeypatch.setenv("GCORE_API_KEY", "mine")
    monkeypatch.delenv("GCORE_BASE_URL", raising=False)
    result = run(
        """
    def test_it(gcore_server):
        task_id = gcore_server.cloud.add(never_ends())
        headers = {"Authorization": "apikey " + os.environ["GCORE_API_KEY"]}
        url = os.environ["GCORE_BASE_URL"] + "/cloud/v1/tasks/" + task_id
        assert httpx.get(url, headers=headers, trust_env=False, verify=False).json()["state"] == "RUNNING"
        assert url.startswith(gcore_server.url)

    def test_is_strict(gcore_server):
        gcore_server.cloud.add(never_ends())

    def test_is_gone():
        assert os.environ["GCORE_API_KEY"] == "mine" and "GCORE_BASE_URL" not in os.environ
    """,
    )
    result.assert_outcomes(passed=3, errors=1)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from waiter.testing import SimulatedCloud", ["pytest", "freezegun"]),
        ("import waiter.testing.plugin", ["waiter.testing.cloud", "http.server"]),
    ],
)
def test_imports_are_few(statement: str, absent: list[str]) -> None:
    """The simulation needs no pytest, and the plugin loads the simulation only when a fixture is used."""
    script = f"import sys; {statement}; print([name for name in {absent} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
