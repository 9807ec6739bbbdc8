"""The official SDK's helpers wait with waiter, against the simulation."""

from __future__ import annotations

import asyncio
import inspect
import runpy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from gcore import AsyncGcore, Gcore

import waiter.integrations.gcore_sdk as sdk
from waiter import ConfigurationError, Event, TaskError, TaskTimeoutError
from waiter.testing import Script, SimulatedCloud, ended, fails, finishes, never_ends, status
from waiter.testing.script import INTEGER_KINDS, KINDS

# Some helpers find what they created in a list of its parent; one polls the image until it is active.
RESOURCE = {
    "count": 1,
    "results": [{"id": "new"}],
    "members": [{"id": "new"}],
    "security_group_rules": [{"id": "new"}],
    "status": "active",
    "size": 10,
}
# Arguments that one of several signatures of a method requires.
VARIANTS = {"VolumesResourceCustomMixin.create_and_poll": ("name", "size", "source")}
CREATED = {kind: [1] if kind in INTEGER_KINDS else ["new"] for kind in KINDS}


class Network(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The simulated cloud, with a resource at every other path that is read."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self.cloud = cloud
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            cloud.on_request(method, "/cloud/*", finishes(19, CREATED))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_resource(request):
            return httpx.Response(200, json=RESOURCE)
        return self.cloud.transport.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_resource(request):
            return httpx.Response(200, json=RESOURCE)
        return await self.cloud.transport.handle_async_request(request)

    def is_resource(self, request: httpx.Request) -> bool:
        return request.method == "GET" and not request.url.path.startswith("/cloud/v1/tasks")


def install(cloud: SimulatedCloud, transport: Any = None, **options: Any) -> Gcore:
    http = httpx.Client(transport=transport or cloud.transport)
    client = Gcore(api_key=cloud.api_key, http_client=http, cloud_project_id=1, cloud_region_id=1, max_retries=0)
    return sdk.install(client, sleep=cloud.sleep, clock=cloud.clock, **options)


def install_async(cloud: SimulatedCloud, transport: Any = None, **options: Any) -> AsyncGcore:
    http = httpx.AsyncClient(transport=transport or cloud.transport)
    client = AsyncGcore(api_key=cloud.api_key, http_client=http, cloud_project_id=1, cloud_region_id=1, max_retries=0)
    return sdk.install(client, sleep=cloud.async_sleep, clock=cloud.clock, **options)


def poll_blocking(cloud: SimulatedCloud, script: Script, **more: Any) -> Any:
    return install(cloud).cloud.tasks.poll(cloud.add(script, watched=False), **more)


def poll_awaited(cloud: SimulatedCloud, script: Script, **more: Any) -> Any:
    return asyncio.run(install_async(cloud).cloud.tasks.poll(cloud.add(script, watched=False), **more))


Poll = Callable[..., Any]


@pytest.fixture(params=[poll_blocking, poll_awaited], ids=["blocking", "awaited"])
def poll(request: pytest.FixtureRequest) -> Poll:
    """Return a function that polls a task of a script through `tasks.poll` of a client with waiter installed."""
    function: Poll = request.param
    return function


@pytest.fixture
def cloud() -> SimulatedCloud:
    return SimulatedCloud.virtual()


def find_helpers(resource: object, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the path and the method of every ``*_and_poll`` helper below a resource of the SDK."""
    for name in dir(type(resource)):
        value = getattr(resource, name) if not name.startswith(("_", "with_")) else None
        if name.endswith("_and_poll") and callable(value):
            yield f"{path}.{name}", value
        elif type(value).__module__.startswith("gcore.resources.cloud"):
            yield from find_helpers(value, f"{path}.{name}")


def make_arguments(helper: Callable[..., Any]) -> dict[str, Any]:
    """Return a value for each required argument of a helper."""
    parameters = inspect.signature(helper).parameters
    alternatives = VARIANTS.get(helper.__qualname__.removeprefix("Async"), ())
    names = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    return {name: make_value(str(parameters[name].annotation)) for name in [*names, *alternatives]}


def make_value(annotation: str) -> object:
    if annotation.startswith(("int", "float")):
        return 1
    if annotation.startswith(("Iterable", "List", "Sequence")):
        return []
    return "new" if annotation.startswith(("str", "Literal")) else {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_helper_waits_with_waiter(cloud: SimulatedCloud) -> None:
    """Each helper of the SDK returns after a task of 19 seconds, which takes fewer polls than every 3 seconds."""
    client = install(cloud, Network(cloud), learn=False)
    helpers = dict(find_helpers(client.cloud, "cloud"))
    assert len(helpers) >= 75
    for path, helper in helpers.items():
        before = cloud.elapsed
        helper(**make_arguments(helper))
        assert 19 <= cloud.elapsed - before < 25, path
    cloud.verify()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_awaited_helper_waits_with_waiter(cloud: SimulatedCloud) -> None:
    """The helpers of an asynchronous client wait together: the tasks of 19 s take less time than two waits in a row."""

    async def call_all() -> int:
        client = install_async(cloud, Network(cloud), learn=False)
        helpers = list(find_helpers(client.cloud, "cloud"))
        await asyncio.gather(*(helper(**make_arguments(helper)) for _, helper in helpers))
        return len(helpers)

    assert asyncio.run(call_all()) >= 75
    assert 19 <= cloud.elapsed < 2 * 19
    cloud.verify()


@pytest.mark.parametrize(
    "script",
    [
        ended({"instances": ["i"], "ddos_profiles": [1]}, fields={"data": {"name": "vm"}, "novel": 1, "acknowledged_by": 7}),
        ended(),
        finishes(30, {"clusters": ["c"]}, project_id=7, fields={"user_id": None, "job_id": "j"}),
    ],
)
def test_poll_returns_the_task_of_the_sdk(cloud: SimulatedCloud, poll: Poll, script: Script) -> None:
    """The result is what the SDK itself returns for the task, with times as the API writes them."""
    task = poll(cloud, script)
    with Gcore(api_key=cloud.api_key, http_client=httpx.Client(transport=cloud.transport)) as client:
        assert task == client.cloud.tasks.get(task.id)
    assert type(task).__module__.startswith("gcore.types.cloud")


def test_failed_task_raises_a_value_error(cloud: SimulatedCloud, poll: Poll) -> None:
    """A task in ERROR raises waiter's TaskError with all its data, which is a ValueError as well."""
    with pytest.raises(ValueError, match="No valid host was found") as caught:
        poll(cloud, fails(9, resources={"volumes": ["v"]}))
    assert isinstance(caught.value, TaskError)
    assert caught.value.created_resources.volumes == ("v",)


@pytest.mark.parametrize(
    "more", [{"polling_timeout_seconds": 40}, {"polling_timeout_seconds": 40, "polling_interval_seconds": 99}]
)
def test_time_out_of_the_call_ends_the_wait(cloud: SimulatedCloud, poll: Poll, more: dict[str, Any]) -> None:
    """The time-out of a call ends the wait after exactly that time; the interval has no effect."""
    with pytest.raises(TimeoutError) as caught:
        poll(cloud, never_ends(), **more)
    assert isinstance(caught.value, TaskTimeoutError)
    assert cloud.elapsed == pytest.approx(40, abs=0.01)


def test_time_out_of_the_client_ends_the_wait(cloud: SimulatedCloud) -> None:
    """The polling time-out of a client applies, also in a copy, unless install() was given a time-out."""
    task_id = cloud.add(never_ends())
    elapsed = []
    client = install(cloud)
    for one in (
        client.with_options(polling_timeout_seconds=50),
        install(cloud, timeout=60),
        client.copy(polling_timeout_seconds=9),
    ):
        before = cloud.elapsed
        with pytest.raises(TimeoutError):
            one.cloud.tasks.poll(task_id)
        elapsed.append(cloud.elapsed - before)
    assert elapsed == pytest.approx([50, 60, 9], abs=0.01)


def test_options_are_those_of_a_waiter(cloud: SimulatedCloud) -> None:
    """Options of install() reach the waits, and outages are survived."""
    events: list[Event] = []
    client = install(cloud, on_event=events.append)
    cloud.outage(5, 60, status(503))
    client.cloud.tasks.poll(cloud.add(finishes(30)))
    assert {"task.finished", "poll.failed", "poll.recovered"} <= {event.name for event in events}


def test_install_refuses_what_cannot_wait() -> None:
    """Another object than a client of the SDK is a TypeError, and bad options are a ConfigurationError."""
    with pytest.raises(TypeError, match=r"^install\(\) takes a Gcore or AsyncGcore client, not int$"):
        sdk.install(3)
    with pytest.raises(ConfigurationError, match="unencrypted"):
        sdk.install(Gcore(api_key="k", base_url="http://elsewhere.example"))


def test_missing_sdk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK the module says what to install."""
    monkeypatch.setitem(sys.modules, "gcore", None)
    with pytest.raises(ImportError, match=r"needs the official SDK: pip install 'gcore-waiter\[gcore-sdk\]'$"):
        runpy.run_path(sdk.__file__)
