"""The schedules of other tools as tenacity strategies, and the delay and requests of any strategy.

Published in: `gcore`, resources/cloud/tasks.py (3 s); botocore, data/ec2/*/waiters-2.json, which aws and boto3 use (15 s for
instances); azure-core, polling/base_polling.py, which az uses (30 s without Retry-After); terraform-plugin-sdk,
helper/retry/state.go (0.1 s, doubling to 10 s); hcloud-go, hcloud/client.go (0.5 s); google-api-core,
future/polling.py; the Smithy specification, "Waiters".
"""

import random
from typing import NamedTuple, Self, cast

from tenacity import RetryCallState
from tenacity.wait import wait_base, wait_exponential, wait_fixed, wait_random_exponential


class Peer(NamedTuple):
    """A named strategy; some tools sleep before their first poll."""

    name: str
    wait: wait_base
    sleeps_first: bool = False


class Doubling(wait_base):
    """From 0.1 s, twice as long each time, up to 10 s: StateChangeConf of terraform-plugin-sdk."""

    def __call__(self, retry_state: RetryCallState) -> float:
        return min(0.1 * 2.0 ** min(retry_state.attempt_number - 1, 20), 10.0)


class Smithy(wait_base):
    """Anything between 2 s and a bound that doubles from 2 to 120 s: the waiters of the Smithy specification.

    Without a deadline, it is never cut to the time left.
    """

    def __call__(self, retry_state: RetryCallState) -> float:
        return random.uniform(2.0, min(2.0 ** min(retry_state.attempt_number, 20), 120.0))


class GoogleApiCore(wait_base):
    """Anything between 0 and a bound that grows by half from 1 to 20 s: DEFAULT_POLLING of google-api-core."""

    def __call__(self, retry_state: RetryCallState) -> float:
        return random.uniform(0.0, min(1.5 ** min(retry_state.attempt_number - 1, 20), 20.0))


FIXED = Peer("official SDKs, 3 s", wait_fixed(3))
BOTOCORE = Peer("botocore, 15 s", wait_fixed(15))
AZURE = Peer("azure-core, 30 s", wait_fixed(30))
TERRAFORM = Peer("terraform, 0.1-10 s", Doubling())

PEERS = (
    FIXED,
    Peer("older Go library, 1 s", wait_fixed(1), sleeps_first=True),
    Peer("hcloud, 0.5 s", wait_fixed(0.5)),
    BOTOCORE,
    AZURE,
    Peer("Smithy, 2-120 s", Smithy()),
    Peer("google-api-core, 1-20 s", GoogleApiCore()),
    TERRAFORM,
    Peer("tenacity exponential", wait_exponential(max=60)),
    Peer("tenacity random exp.", wait_random_exponential(max=60)),
)


class PollState:
    """What tenacity passes to a strategy after a poll, and the result of the poll."""

    failed = False
    attempt_number = 0
    age = 0.0

    @property
    def outcome(self) -> Self:
        return self

    @property
    def seconds_since_start(self) -> float:
        return self.age

    def result(self) -> Self:
        return self


def pay(peer: Peer, duration: float, request_time: float = 0.0, start: float = 0.0) -> tuple[float, int]:
    """Return the delay in seconds and the requests until a poll finds that a task of this duration has ended.

    The first poll begins at the age ``start``. A response shows the task as it was in the middle of its request.
    """
    state = PollState()
    state.age, state.attempt_number = start + request_time, 0 if peer.sleeps_first else 1
    while state.age - request_time / 2 < duration:
        state.age += peer.wait(cast("RetryCallState", state)) + request_time
        state.attempt_number += 1
    return state.age - duration, state.attempt_number
