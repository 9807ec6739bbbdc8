"""One run of the sidecar, from its options to its exit code."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager

from waiter.aio import AsyncWaiter
from waiter.config.options import Options
from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.fault_hooks import report_fault_of_loop
from waiter.console.init_process import reaping_orphans
from waiter.console.log_format import start_log
from waiter.session import Session
from waiter.sidecar.api_client import SidecarClient
from waiter.sidecar.event_stream import EventStream
from waiter.sidecar.gauges import add_gauges
from waiter.sidecar.health import Health
from waiter.sidecar.listeners import Listener, connection_limits
from waiter.sidecar.metrics import Metrics
from waiter.sidecar.options import SidecarOptions, read_options
from waiter.sidecar.service import Service
from waiter.sidecar.startup_tasks import StartupTasks
from waiter.sidecar.storage.store import Store
from waiter.sidecar.storage.write_queue import WriteQueue
from waiter.sidecar.web.app import ControlApi
from waiter.sidecar.web.probes import Probes
from waiter.sidecar.webhook.outbox import Outbox
from waiter.sidecar.webhook.sender import Sender

# Seconds for the webhooks that are pending when a failed task ends the sidecar. Its next start may be far away.
LAST_WEBHOOKS_TIMEOUT = 10.0


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code; raises ConfigurationError."""
    options = read_options(args)
    start_log(args, stderr.write_line)
    with reaping_orphans():
        return asyncio.run(serve(options, announce=stderr.info, mask_with=stderr.mask_with))


async def serve(
    options: SidecarOptions, *, announce: Callable[[str], object], mask_with: Callable[[Callable[[str], str]], object]
) -> int:
    """Open all parts of the sidecar, run it, and close them.

    ``announce`` is called with the addresses of the listeners, ``mask_with`` with the function that hides the API key.
    """
    asyncio.get_running_loop().set_exception_handler(report_fault_of_loop)
    with ExitStack() as stack:
        control, probes = (stack.enter_context(address.listening()) for address in (options.listen, options.probe_listen))
        store = Store(options.state_dir)
        if store.damage:
            stderr.warn(store.damage)
        stream = EventStream(store.bounds()[1])
        waits = {wait.id: wait for wait in store.waits()}
        metrics = Metrics(waits.values)
        async with WriteQueue(store, stream.publish) as write_queue, _sending(options, store, write_queue, metrics) as outbox:
            service = Service(
                write_queue,
                waits,
                startup_ids=options.task_ids,
                max_waits=options.max_waits,
                keep_ended=options.keep_ended,
                on_task_end=metrics.record_task_end,
                outbox=outbox,
            )
            startup_tasks = StartupTasks(service, options.result_file)
            waiter_options: Options = {**options.wait, "on_event": service.on_event}
            session = Session.open(waiter_options)
            mask_with(session.settings.api_key.hide)
            client = SidecarClient(session.settings, metrics.record_poll)
            health = Health(client, write_queue, store, waits.values)
            max_control, max_probes = connection_limits(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            api = ControlApi(service, write_queue, stream, max_open_requests=max_control // 5 * 2)
            probe_app = Probes(metrics, startup_tasks.problem, health.warnings).app()
            listeners = {
                "control": Listener(api.app(options.token), control, max_connections=max_control),
                "probes": Listener(probe_app, probes, max_connections=max_probes),
            }
            add_gauges(
                metrics,
                options=options,
                store=store,
                write_queue=write_queue,
                client=client,
                health=health,
                api=api,
                listeners=listeners,
            )
            async with AsyncWaiter.from_session(session, client) as waiter:
                await service.start(waiter, client.key_fingerprint, session.settings.timeout)
                announce(", ".join(f"{name} on {listener.url}" for name, listener in listeners.items()))
                try:
                    return await _run_until_stopped(
                        list(listeners.values()),
                        write_queue,
                        stream,
                        startup_tasks,
                        outbox,
                        exits_on_error=options.exits_on_error,
                    )
                finally:
                    await service.stop()


@asynccontextmanager
async def _sending(
    options: SidecarOptions, store: Store, write_queue: WriteQueue, metrics: Metrics
) -> AsyncIterator[Outbox | None]:
    """Send the pending webhooks, and yield the outbox for those to come, None if there may be none."""
    stored = store.deliveries()
    if options.webhook is None:
        if stored:
            stderr.warn(f"{len(stored)} webhooks are pending: they stay stored until the sidecar is started with --webhook")
        yield None
        return
    sender = Sender(options.webhook.secrets)
    outbox = Outbox(write_queue, sender, options.webhook.targets, record=metrics.record_webhook)
    metrics.add_gauge("waiter_webhooks_pending", "Webhooks that no receiver has accepted yet", outbox.pending)
    metrics.add_gauge(
        "waiter_webhook_oldest_pending_seconds",
        "Time since the end of the wait whose webhook is pending the longest",
        outbox.oldest_age,
    )
    outbox.start(stored)
    try:
        yield outbox
    finally:
        await outbox.stop()


async def _run_until_stopped(  # noqa: PLR0913 - all that runs
    listeners: Sequence[Listener],
    write_queue: WriteQueue,
    stream: EventStream,
    startup_tasks: StartupTasks,
    outbox: Outbox | None,
    *,
    exits_on_error: bool,
) -> int:
    stop = asyncio.Event()
    with _signals_set(stop):
        serving = [asyncio.create_task(listener.run_until(stop)) for listener in listeners]
        watching = asyncio.create_task(_watch(startup_tasks, stream, outbox, stop, exits_on_error=exits_on_error))
        try:
            await asyncio.wait([watching, write_queue.writer_task, *serving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            stream.close()
            await asyncio.gather(*serving)
        return await watching


async def _watch(
    startup_tasks: StartupTasks, stream: EventStream, outbox: Outbox | None, stop: asyncio.Event, *, exits_on_error: bool
) -> int:
    code = await startup_tasks.wait_until_ended(stream)
    if code and exits_on_error:
        if outbox is not None:
            await stream.wait_until(lambda: not outbox.pending(), LAST_WEBHOOKS_TIMEOUT)
        return code
    await startup_tasks.wait_until_finished(stream)
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
