"""What a DAG uses: ``GcoreWaitOperator``, ``GcoreTaskSensor`` and ``@task.gcore``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, conf
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue, Variable
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from waiter import AsyncWaiter, CreatedResources, Event, TaskError, WaiterError
from waiter.config.task_ids import TaskRef, task_ids
from waiter.integrations.airflow.hook import GcoreHook, options_of
from waiter.integrations.airflow.trigger import RETRYABLE, GcoreTaskTrigger, log_fields, log_level, wait

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

# Airflow's own time-out is this much later than the deadline of the wait, because it would skip the last poll.
MARGIN = timedelta(minutes=5)


class _Waits:
    """What the three have in common. The result is what the tasks created: ``{"instances": [...]}``."""

    log: Any
    defer: Callable[..., Any]
    gcore_conn_id: str
    deferrable: bool
    wait_timeout: float | None

    def _configure(self, gcore_conn_id: str, deferrable: bool | None, timeout: float | timedelta | None) -> None:
        self.gcore_conn_id = gcore_conn_id
        self.deferrable = conf.getboolean("operators", "default_deferrable") if deferrable is None else deferrable
        self.wait_timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout

    def _wait(self, context: Context, ids: Sequence[str]) -> dict[str, Any]:
        if not ids:
            return {}
        options = options_of(GcoreHook.get_connection(self.gcore_conn_id))
        now = time.time()
        deadline = None if self.wait_timeout is None else now + self.wait_timeout
        if self.deferrable:
            # One poll: Airflow may take a task that resumes within seconds for one that was killed.
            outcome = asyncio.run(_wait_here(options, ids, now, lambda _: None))
            if not outcome["has_ended"]:
                self.defer(
                    trigger=GcoreTaskTrigger(ids, self.gcore_conn_id, deadline),
                    method_name="execute_complete",
                    timeout=None if self.wait_timeout is None else timedelta(seconds=self.wait_timeout) + MARGIN,
                )
        else:
            outcome = asyncio.run(_wait_here(options, ids, deadline, self._write))
        return self.execute_complete(context, outcome)

    def _write(self, event: Event) -> None:
        self.log.log(log_level(event), event.name, **log_fields(event))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Return what the tasks created. Raises AirflowFailException, which is not retried, unless it was an outage."""
        if event["error"] is None:
            return dict(event["created_resources"])
        left = f"; created all the same: {json.dumps(event['created_resources'])}" if event["created_resources"] else ""
        raise (AirflowFailException if event["is_final"] else AirflowException)(event["error"] + left)

    def on_kill(self) -> None:
        """Log that nothing was cancelled."""
        self.log.warning("the tasks continue at Gcore")


async def _wait_here(
    options: dict[str, Any], ids: Sequence[str], deadline: float | None, on_event: Callable[[Event], object]
) -> dict[str, Any]:
    async with AsyncWaiter(**options, log=False) as waiter:
        return await wait(waiter, ids, deadline, on_event)


class GcoreWaitOperator(_Waits, BaseOperator):
    """Waits for tasks of Gcore: ``task_ids`` is an ID, a list of IDs, or what the API answered (templated)."""

    template_fields = ("task_ids", "gcore_conn_id")

    def __init__(
        self,
        *,
        task_ids: TaskRef,
        gcore_conn_id: str = GcoreHook.default_conn_name,
        timeout: float | timedelta | None = 7200,
        deferrable: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - what the base takes
    ) -> None:
        super().__init__(**kwargs)
        self.task_ids = task_ids
        self._configure(gcore_conn_id, deferrable, timeout)

    def execute(self, context: Context) -> dict[str, Any]:
        """Defer until the tasks have ended, or wait here."""
        return self._wait(context, task_ids(self.task_ids))


class GcoreTaskSensor(_Waits, BaseSensorOperator):
    """Like GcoreWaitOperator, with the modes of a sensor where it does not defer; ``timeout`` is that of sensors."""

    template_fields = ("task_ids", "gcore_conn_id")

    def __init__(
        self,
        *,
        task_ids: TaskRef,
        gcore_conn_id: str = GcoreHook.default_conn_name,
        deferrable: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - what the base takes
    ) -> None:
        super().__init__(**kwargs)
        self.task_ids = task_ids
        self._configure(gcore_conn_id, deferrable, self.timeout)

    def execute(self, context: Context) -> Any:  # noqa: ANN401 - Airflow's signature
        """Defer until the tasks have ended, or poke."""
        return self._wait(context, task_ids(self.task_ids)) if self.deferrable else super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Poll each task once. An outage is not an end; raises AirflowFailException for a failed task and for a refusal."""
        try:
            with GcoreHook(self.gcore_conn_id).get_conn() as waiter:
                tasks = [waiter.status(task_id) for task_id in task_ids(self.task_ids)]
        except RETRYABLE as error:
            self.log.warning("poll.failed", error=str(error))
            return PokeReturnValue(is_done=False)
        except WaiterError as error:
            raise AirflowFailException(str(error)) from None
        if failed := [str(TaskError(task)) for task in tasks if task.failed]:
            raise AirflowFailException("; ".join(failed))
        created = CreatedResources.merge(task.created_resources for task in tasks)
        return PokeReturnValue(is_done=all(task.ended for task in tasks), xcom_value=created.as_dict())


class _DecoratedOperator(_Waits, DecoratedOperator, PythonOperator):
    """Calls the function once, stores the IDs of the tasks that it has started, and waits for them.

    They are stored in a variable, since a retry begins without the XComs of the try before, and deleted when the tasks ended.
    """

    custom_operator_name = "@task.gcore"
    template_fields = (*DecoratedOperator.template_fields, "gcore_conn_id")

    def __init__(
        self,
        *,
        gcore_conn_id: str = GcoreHook.default_conn_name,
        timeout: float | timedelta | None = 7200,
        deferrable: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - what the base takes
    ) -> None:
        upstream = {name: kwargs[name] for name in ("python_callable", "op_args", "op_kwargs")}
        super().__init__(kwargs_to_upstream=upstream, **kwargs)
        self._configure(gcore_conn_id, deferrable, timeout)

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the work, unless an earlier try has; then wait."""
        name = _variable(context)
        ids = Variable.get(name, default=None, deserialize_json=True)
        if ids is None:
            ids = task_ids(super().execute(context))
            Variable.set(name, ids, description="Tasks of Gcore that an Airflow task waits for", serialize_json=True)
        else:
            self.log.info("the tasks were started by an earlier try", gcore_task_ids=ids)
        return self._wait(context, ids)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Like GcoreWaitOperator. The IDs are kept while the tasks have not ended."""
        if event["has_ended"]:
            Variable.delete(_variable(context))
        return super().execute_complete(context, event)


def _variable(context: Context) -> str:
    ti = context["ti"]
    key = json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index])
    return f"gcore_wait_{uuid5(NAMESPACE_URL, key)}"


def gcore_task(python_callable: Callable[..., TaskRef] | None = None, **kwargs: Any) -> TaskDecorator:  # noqa: ANN401
    """Decorate a function that starts work at Gcore and returns what the API answered: ``@task.gcore``."""
    return task_decorator_factory(
        python_callable=python_callable, multiple_outputs=False, decorated_operator_class=_DecoratedOperator, **kwargs
    )
