"""Wait for tasks in Apache Airflow without a worker slot.

``operators`` has what a DAG uses, ``hook`` the connection, ``trigger`` what waits; see ``examples/airflow/README.md``.
"""

from __future__ import annotations

from typing import Any

from waiter import __version__


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow registers; it finds this function by the entry point ``apache_airflow_provider``."""
    optional = {"type": ["number", "null"]}
    return {
        "package-name": "gcore-waiter",
        "name": "Gcore",
        "description": "Wait for tasks of Gcore Cloud.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "gcore",
                "hook-class-name": f"{__name__}.hook.GcoreHook",
                "hook-name": "Gcore",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"password": "Permanent API token", "host": "Address of the API"},
                    "placeholders": {"host": "https://api.gcore.com"},
                },
                "conn-fields": {
                    "max_rps": {"label": "Requests a second, of all processes together", "schema": optional},
                    "processes": {"label": "Processes that share them", "schema": optional},
                    "max_outage": {"label": "Longest outage, in seconds", "schema": optional},
                },
            }
        ],
        "task-decorators": [{"name": "gcore", "class-name": f"{__name__}.operators.gcore_task"}],
    }


# Below the function, because Airflow calls it while it is imported.
try:
    import airflow  # noqa: F401 - the modules of this package need it
except ImportError as error:
    message = "waiter.integrations.airflow needs Apache Airflow: pip install 'gcore-waiter[airflow]'"
    raise ImportError(message) from error
