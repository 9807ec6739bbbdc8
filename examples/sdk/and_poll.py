"""Create an instance with a helper of the official SDK that waits with waiter: ``python and_poll.py``.

Environment: ``GCORE_API_KEY``, ``GCORE_CLOUD_PROJECT_ID`` and ``GCORE_CLOUD_REGION_ID``. Needs ``pip install gcore``.
"""

from gcore import Gcore

from waiter import TaskError
from waiter.integrations.gcore_sdk import install


def main() -> None:
    """Create the instance and print its ID, or what a failed task left behind."""
    client = install(Gcore(), max_outage=900)
    try:
        instance = client.cloud.instances.create_and_poll(
            flavor="g1-standard-1-2",
            interfaces=[{"type": "external"}],
            volumes=[{"source": "image", "image_id": "f01fd9a0-9548-48ba-82dc-a8c8b2d6f2f1", "size": 10, "boot_index": 0}],
        )
    except TaskError as error:
        print(f"Failed: {error}. To clean up: {error.created_resources.as_dict()}")
        raise
    print(f"The new instance is {instance.id}: {instance.status}")


if __name__ == "__main__":
    main()
