"""Wait until what a task creates can be used, not only until the task ends: ``python ready.py TASK_ID``.

Environment: ``GCORE_API_KEY``.
"""

import sys

from waiter import Event, ResourceError, TaskError, TaskTimeoutError, wait_for_task


def show(event: Event) -> None:
    """Print each change of a created resource."""
    if event.name == "resource.state_changed":
        print(f"{event.fields['kind']} {event.fields['resource_id']} is {event.fields['new']}", file=sys.stderr)


def main() -> int:
    """Print the IDs of the images once they can be used, and return the exit code."""
    try:
        created = wait_for_task(sys.argv[1], ready=True, timeout=1800, on_event=show)
    except (ResourceError, TaskError) as failed:
        print(failed, file=sys.stderr)
        return 1
    except TaskTimeoutError as timed_out:
        for kind, resource_id, status in timed_out.not_ready:  # empty if the task itself is still running
            print(f"{kind} {resource_id} is still {status}", file=sys.stderr)
        return 124
    print(*created.images)
    return 0


if __name__ == "__main__":
    sys.exit(main())
