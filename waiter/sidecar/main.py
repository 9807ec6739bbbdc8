"""One run of the sidecar, from its options to its exit code."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from waiter.config.settings import Options
from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.log_format import start_log
from waiter.console.streams import write_stderr
from waiter.sidecar.control import Control
from waiter.sidecar.given import Given
from waiter.sidecar.journal import Journal
from waiter.sidecar.listeners import Listener
from waiter.sidecar.looks import Looks
from waiter.sidecar.metrics import Metrics
from waiter.sidecar.options import SidecarOptions, read_options
from waiter.sidecar.probes import Probes
from waiter.sidecar.service import Service
from waiter.sidecar.store import Store
from waiter.sidecar.stream import Stream


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, and give the exit code; raises ConfigurationError for what cannot work."""
    options = read_options(args)
    start_log(args, write_stderr)
    return asyncio.run(serve(options, announce=stderr.info))


async def serve(options: SidecarOptions, *, announce: Callable[[str], object]) -> int:
    """Open what the sidecar needs, run it, and close it again; ``announce`` is told where it listens."""
    with ExitStack() as stack:
        control, probes = (stack.enter_context(address.bind()) for address in (options.listen, options.probe_listen))
        store = Store(options.state_dir)
        if store.damage:
            stderr.warn(store.damage)
        stream = Stream(store.bounds()[1])
        waits = {wait.id: wait for wait in store.waits()}
        metrics = Metrics(waits.values)
        async with Journal(store, stream.publish) as journal:
            service = Service(journal, waits, given=options.task_ids, on_ended=metrics.task_ended)
            given = Given(service, options.result_file)
            listeners = [
                Listener(Control(service, journal, stream).app(options.token), control),
                Listener(Probes(metrics, given.is_ready).app(), probes),
            ]
            told: Options = {**options.wait, "on_event": service.hear}
            async with Looks(metrics.polled, **told) as looks:
                await service.start(looks)
                announce("control on {}, probes on {}".format(*(listener.url for listener in listeners)))
                try:
                    return await _attend(listeners, journal, stream, given, exits_on_error=options.exits_on_error)
                finally:
                    await service.stop()


async def _attend(
    listeners: Sequence[Listener], journal: Journal, stream: Stream, given: Given, *, exits_on_error: bool
) -> int:
    stop = asyncio.Event()
    with _signals_set(stop):
        serving = [asyncio.create_task(listener.run_until(stop)) for listener in listeners]
        watching = asyncio.create_task(_watch(given, stream, stop, exits_on_error=exits_on_error))
        try:
            await asyncio.wait([watching, journal.running, *serving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            stream.close()
            await asyncio.gather(*serving)
        return await watching


async def _watch(given: Given, stream: Stream, stop: asyncio.Event, *, exits_on_error: bool) -> int:
    code = await given.see_through(stream)
    if code and exits_on_error:
        return code
    await given.see_mended(stream)
    await stop.wait()
    return ExitCode.FINISHED


@contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    try:
        yield
    finally:
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)
