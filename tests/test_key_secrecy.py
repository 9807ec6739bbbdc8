"""A planted key, searched in everything that waiter shows, stores and starts, while the server echoes it wherever it can."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import httpx
import key_parts
import pytest
import trio
from key_parts import FORMS, KEY, RAISING, all_errors, awaited, blocking, blocking_many, leaks, raised, under_asyncio
from network_lab import request_head, serve
from sidecar_parts import running

from waiter import WaiterError

HERE = Path(__file__)
OURS = {HERE, Path(key_parts.__file__)}


def echo(state: str) -> Callable[[socket.socket], None]:
    """Answer with an outage first and with a task then; every text of both has the key."""

    def behave(connection: socket.socket) -> None:
        statuses = ["503 Service Unavailable", "400 Bad Request" if state == "refused" else "200 OK"]
        while head := request_head(connection):
            task_id = head.split(b" ")[1].decode().rpartition("/")[2]
            task = {"id": task_id, "state": state, "error": f"apikey {KEY}", "detailed_state": KEY, "data": {KEY: [KEY]}}
            problem = {"exception_class": KEY, "message": f"{FORMS[1]} {KEY}", "request_id": KEY, "task_type": KEY}
            body = json.dumps(task | problem).encode()
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            fields = f"Content-Length: {len(body)}\r\nX-Echo: apikey {KEY}\r\nX-Request-Id: {KEY}\r\nServer: {KEY}\r\n"
            connection.sendall(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)

    return behave


@contextmanager
def echoing(state: str) -> Iterator[str]:
    with serve(echo(state)) as port:
        yield f"http://127.0.0.1:{port}"


def under_trio(**options: Any) -> object:
    return trio.run(awaited, options)


def over_httpx(**options: Any) -> object:
    with httpx.Client() as client:
        return blocking(client=client, **options)


@pytest.mark.parametrize("state", ["FINISHED", "ERROR", "refused"])
@pytest.mark.parametrize("driver", [blocking, under_asyncio, under_trio, over_httpx], ids=lambda driver: driver.__name__)
def test_echoed_key_is_in_no_result_error_event_traceback_or_log(
    driver: Callable[..., object], state: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """At every level of every logger, with the local variables of waiter's frames as an error tracker shows them."""
    caplog.set_level(logging.NOTSET)
    file, events = tmp_path / "key", list[Any]()
    file.write_text(KEY)
    shown: list[object] = []
    with echoing(state) as url:
        try:
            shown.append(driver(api_key=file, base_url=url, wait=lambda _: 0.01, on_event=events.append, max_outage=30))
        except WaiterError as error:
            found = traceback.TracebackException.from_exception(error, capture_locals=True)
            frames = [frame.locals for frame in found.stack if Path(frame.filename) not in OURS]
            shown += [error, vars(error), *traceback.format_exception(error), *frames]
    shown += [part for event in events for part in (event, event.fields, event.task)]
    records = [(record.name, record.getMessage(), vars(record)) for record in caplog.records if not _has_raw_headers(record)]
    assert len(shown) > 3
    assert leaks("\n".join(f"{one!r} {one}" for one in shown)) == []
    assert leaks("\n".join(map(repr, records))) == []


def shown_by_trackers(value: object, depth: int = 5) -> Iterator[str]:
    """Yield what tools print of a local variable: its repr (pytest), that of its beginning (rich), those of its parts."""
    yield repr(value)
    if isinstance(value, str | bytes):
        yield repr(value[:80])
    elif depth and not isinstance(value, ModuleType | FunctionType | type):
        parts: list[object] = []
        if isinstance(value, Mapping):
            parts += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset | deque):
            parts += value
        parts += vars(value).values() if hasattr(value, "__dict__") else ()
        for kind in type(value).__mro__:
            names: Any = kind.__dict__.get("__slots__", ())
            parts += [getattr(value, name, None) for name in ([names] if isinstance(names, str) else names)]
        for part in parts:
            yield from shown_by_trackers(part, depth - 1)


@pytest.mark.parametrize("case", RAISING)
@pytest.mark.parametrize("driver", [blocking, blocking_many, under_asyncio], ids=lambda driver: driver.__name__)
def test_local_variables_of_a_traceback_show_no_key(
    driver: Callable[..., object], case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As rich, pytest and error trackers print them, for all frames but those of the user, and for logged errors."""
    error = raised(driver, case, monkeypatch)
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert bool(logged) == (case == "callback of the user")
    errors = [found for one in (error, *logged) for found in all_errors(one)]
    frames = [frame for error in errors for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = [
        f"{frame.f_code.co_qualname}: {name}"
        for frame in frames
        if Path(frame.f_code.co_filename) not in OURS
        for name, value in frame.f_locals.items()
        if leaks("\n".join(shown_by_trackers(value)))
    ]
    assert (found, leaks("\n".join(f"{error!r} {error}" for error in errors))) == ([], [])


def _has_raw_headers(record: logging.LogRecord) -> bool:
    """Whether the transport of the user's httpx client logged the headers of a response, which waiter cannot prevent."""
    return record.name.startswith("httpcore") and "receive_response_headers.complete" in record.getMessage()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return kept | {
        "GCORE_API_KEY": KEY,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
    }


def files_with_key(folder: Path) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if leaks(file.read_bytes().decode("latin-1"))]


@pytest.mark.parametrize("state", ["FINISHED", "ERROR", "refused"])
@pytest.mark.parametrize("form", ["text", "json", "env", "events"])
def test_command_shows_and_stores_no_key(environ: dict[str, str], tmp_path: Path, state: str, form: str) -> None:
    """Neither its result nor its most verbose log, nor what it keeps between runs."""
    command = [sys.executable, "-m", "waiter", "wait", "-o", form, "--log-level", "debug", "--interval", "0.01", "t-1"]
    with echoing(state) as url:
        ran = subprocess.run(
            command,
            env=environ | {"GCORE_BASE_URL": url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert ran.returncode == {"FINISHED": 0, "ERROR": 1, "refused": 5}.get(state, 0) or state == "refused"
    assert leaks(ran.stdout + ran.stderr) == []
    assert files_with_key(tmp_path) == []


PRINTED = "import os, sys; print(os.environ['GCORE_API_KEY']); print(open('/proc/self/cmdline').read(), file=sys.stderr)"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where it is read")
def test_command_after_the_wait_gets_the_key_in_its_environment_only(environ: dict[str, str]) -> None:
    """It is the user's own, and deploys with the same key; command lines are seen by everyone."""
    wait = [sys.executable, "-m", "waiter", "wait", "-q", "--interval", "0.01", "t-1", "--", sys.executable, "-c", PRINTED]
    with echoing("FINISHED") as url:
        ran = subprocess.run(
            wait, env=environ | {"GCORE_BASE_URL": url}, capture_output=True, text=True, check=True, timeout=60
        )
    assert ran.stdout.splitlines()[-1] == KEY
    assert leaks(ran.stderr) == []


@pytest.mark.parametrize("state", ["ERROR", "RUNNING"])
def test_sidecar_shows_and_stores_no_key(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page, API, events, metrics and probes do not have it, nor do the files of its database while it runs and after."""
    monkeypatch.setenv("GCORE_API_KEY", KEY)
    found: list[str] = []

    async def main() -> None:
        async with running(tmp_path, "t-1", exits_on_error=False) as (sidecar, _):
            await sidecar.up.wait()
            async with httpx.AsyncClient(timeout=60) as client:
                await client.get(f"{sidecar.control}/v1/waits?wait=2s")
                urls = [f"{sidecar.control}{path}" for path in ("/v1/waits", "/v1/waits/t-1", "/", "/openapi.json")]
                urls += [f"{sidecar.probes}{path}" for path in ("/metrics", "/readyz", "/livez", "/startupz")]
                found.extend([(await client.get(url)).text for url in urls])
                found.append(await _read_events(client, sidecar.control))
            found.extend(map(str, files_with_key(tmp_path)))

    with echoing(state) as url:
        monkeypatch.setenv("GCORE_BASE_URL", url)
        asyncio.run(main())
    assert "t-1" in found[0]
    assert leaks("\n".join(found)) == []
    assert files_with_key(tmp_path) == []


async def _read_events(client: httpx.AsyncClient, url: str) -> str:
    text = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5), client.stream("GET", f"{url}/v1/events", headers={"Last-Event-ID": "0"}) as stream:
            async for part in stream.aiter_text():
                text += part
    return text
