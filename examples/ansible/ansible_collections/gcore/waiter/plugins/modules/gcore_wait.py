#!/usr/bin/python
"""Wait for tasks of Gcore Cloud."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gcore_wait
short_description: Wait for tasks of Gcore Cloud
version_added: 1.0.0
author: The authors of gcore-waiter (@gcore-waiter)
description:
  - Waits until tasks have ended, and returns the IDs of what they created.
  - Fails when one of them has failed, with all that was created, so that a C(rescue) can delete it.
  - Waiting changes nothing. For tasks that have ended, the result is the same as often as it runs.
requirements:
  - gcore-waiter
options:
  task_ids:
    description: The IDs, as C(tasks) of what the API answers to a request that starts work.
    type: list
    elements: str
    required: true
  api_key:
    description: The permanent API token. The environment variable E(GCORE_API_KEY) by default.
    type: str
  base_url:
    description: The address of the API. The environment variable E(GCORE_BASE_URL) by default.
    type: str
  timeout:
    description: How many seconds to wait in all.
    type: float
    default: 7200
  max_outage:
    description: For how many seconds the API may give no usable answer.
    type: float
    default: 300
  ready:
    description: Whether to wait, after the tasks are FINISHED, until what they created is ready by its own endpoints.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: In check mode each task is polled once, and none is awaited.
  diff_mode:
    support: none
    description: Nothing is changed.
"""

EXAMPLES = r"""
- name: Create an instance
  ansible.builtin.uri:
    url: https://api.gcore.com/cloud/v2/instances/{{ project }}/{{ region }}
    method: POST
    headers:
      Authorization: apikey {{ lookup('env', 'GCORE_API_KEY') }}
    body_format: json
    body: "{{ instance }}"
  register: answer

- name: Wait for it
  gcore.waiter.gcore_wait:
    task_ids: "{{ answer.json.tasks }}"
    timeout: 1800
  register: created

- name: Show its ID
  ansible.builtin.debug:
    var: created.created_resources.instances[0]
"""

RETURN = r"""
created_resources:
  description: The IDs of what all tasks created, by kind, whether they failed or not.
  returned: always
  type: dict
  sample: {"instances": ["d5b9b1a5-6b4e-4ec5-a4e5-6e9d1a7c1d4b"]}
tasks:
  description: The tasks that have ended, and in check mode all of them.
  returned: always
  type: list
  elements: dict
  sample:
    - id: 26986bc0-748a-4448-b836-0a2aa465eb06
      task_type: create_vm
      state: FINISHED
      error: null
      created_resources: {"instances": ["d5b9b1a5-6b4e-4ec5-a4e5-6e9d1a7c1d4b"]}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

try:
    from waiter import CreatedResources, ResourceError, Task, TaskError, TasksError, Waiter, WaiterError
except ImportError:
    HAS_WAITER = False
else:
    HAS_WAITER = True

ARGUMENTS = {
    "task_ids": {"type": "list", "elements": "str", "required": True},
    "api_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["GCORE_API_KEY"])},
    "base_url": {"type": "str", "fallback": (env_fallback, ["GCORE_BASE_URL"])},
    "timeout": {"type": "float", "default": 7200.0},
    "max_outage": {"type": "float", "default": 300.0},
    "ready": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if not HAS_WAITER:
        module.fail_json(missing_required_lib("gcore-waiter"), created_resources={}, tasks=[])
    arguments = dict(module.params)
    ids = arguments.pop("task_ids")
    try:
        with Waiter(**arguments) as waiter:
            tasks = [waiter.status(task_id) for task_id in ids] if module.check_mode else list(waiter.wait_all(ids).values())
    except TasksError as error:
        failed = [one.task for one in error.failed.values() if isinstance(one, (TaskError, ResourceError)) and one.task]
        message = "; ".join(map(str, error.failed.values()))
        module.fail_json(message, **result([*error.succeeded.values(), *failed]))
    except WaiterError as error:
        module.fail_json(str(error), **result([]))
    else:
        module.exit_json(changed=False, **result(tasks))


def result(tasks: list[Task]) -> dict[str, Any]:
    """Return the tasks and what they created, ready for JSON."""
    return {
        "created_resources": CreatedResources.merge(task.created_resources for task in tasks).as_dict(),
        "tasks": [
            {
                "id": task.id,
                "task_type": task.task_type,
                "state": str(task.state),
                "error": task.error,
                "created_resources": task.created_resources.as_dict(),
            }
            for task in tasks
        ],
    }


if __name__ == "__main__":
    main()
