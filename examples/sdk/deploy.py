"""Create an instance with the official SDK, wait for it with waiter, and print its ID: ``python deploy.py``.

Environment: ``GCORE_API_KEY``, ``GCORE_CLOUD_PROJECT_ID`` and ``GCORE_CLOUD_REGION_ID``. Needs ``pip install gcore``.
"""

from gcore import Gcore

from waiter import wait_for_task


def main() -> None:
    """Create the instance and print its ID."""
    client = Gcore()
    tasks = client.cloud.instances.create(
        flavor="g1-standard-1-2",
        interfaces=[{"type": "external"}],
        volumes=[{"source": "image", "image_id": "f01fd9a0-9548-48ba-82dc-a8c8b2d6f2f1", "size": 10, "boot_index": 0}],
    )
    created = wait_for_task(tasks.tasks, timeout=1800)
    print(f"The new instance is {created.instances[0]}")


if __name__ == "__main__":
    main()
