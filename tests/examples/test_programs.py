"""The programs beside the pages, run unchanged against the simulation."""

from __future__ import annotations

import hmac
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from waiter.testing import SimulatedCloud, cloud_from_script, ended, fails, finishes, resources_fail, resources_ready

EXAMPLES = Path(__file__).parents[2] / "examples"
pytest_plugins = ["pytester"]


def run(*argv: str, environ: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *argv] if argv[0].endswith(".py") else list(argv)
    return subprocess.run(command, env=environ, input=stdin, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("durations", "estimate"), [((), "unknown"), (("58", "61", "55", "70", "62"), "s, ")])
def test_polls_prints_the_schedule(environ: dict[str, str], durations: tuple[str, ...], estimate: str) -> None:
    """Each line has an age and a positive interval, and the next age is their sum."""
    ran = run(str(EXAMPLES / "schedule" / "polls.py"), "--polls", "5", *durations, environ=environ)
    rows = [line.split() for line in ran.stdout.splitlines()[1:]]
    ages, intervals = [float(row[0]) for row in rows], [float(row[1]) for row in rows]
    assert (ran.stderr, len(rows)) == ("", 5)
    assert ages[1:] == pytest.approx([age + interval for age, interval in zip(ages, intervals, strict=True)][:-1], abs=0.2)
    assert all(estimate in line for line in ran.stdout.splitlines()[1:])


def test_many_prints_each_outcome(cloud: SimulatedCloud, environ: dict[str, str]) -> None:
    """Finished tasks go to standard output, failed ones to standard error, and the exit code is 1."""
    good = [cloud.add(finishes(0.0, {"instances": [f"vm-{number}"]})) for number in range(3)]
    bad = cloud.add(fails(0.0, "No valid host"))
    ran = run(str(EXAMPLES / "many" / "many.py"), environ=environ, stdin="\n".join([*good, bad]))
    assert (ran.returncode, sorted(line.split()[0] for line in ran.stdout.splitlines())) == (1, sorted(good))
    assert "No valid host" in ran.stderr


def test_ready_prints_images_that_can_be_used(cloud: SimulatedCloud, environ: dict[str, str]) -> None:
    """It shows each change, and says which image failed."""
    program = str(EXAMPLES / "ready" / "ready.py")
    good = run(
        program, cloud.add(resources_ready(0.5, finishes(0.0, {"images": ["m-1"]}, starts_when_seen=True))), environ=environ
    )
    bad = run(program, cloud.add(resources_fail(0.0, ended({"images": ["m-2"]}))), environ=environ)
    assert (good.returncode, good.stdout, good.stderr) == (0, "m-1\n", "images m-1 is saving\nimages m-1 is active\n")
    assert (bad.returncode, bad.stdout, "images m-2 failed: deactivated" in bad.stderr) == (1, "", True)


@pytest.fixture
def sidecar(environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The URL of a sidecar that runs in a process."""
    pytest.importorskip("uvicorn", reason="needs the extra sidecar")
    options = ["--state-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
    command = [sys.executable, "-m", "waiter", "sidecar", *options]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        announced = process.stderr.readline()
        yield announced.removeprefix("waiter: control on ").partition(",")[0]
        process.terminate()


@pytest.mark.parametrize("client", ["wait.sh", "wait_over_http.py"])
def test_clients_of_the_sidecar_return_how_the_wait_ended(
    cloud: SimulatedCloud, environ: dict[str, str], sidecar: str, client: str
) -> None:
    """A finished task is printed with exit code 0, a failed one with 1."""
    if client.endswith(".sh") and shutil.which("curl") is None:
        pytest.skip("needs curl")
    program, environ = str(EXAMPLES / "sidecar" / client), environ | {"SIDECAR": sidecar}
    finished = run(program, cloud.add(finishes(0.2, {"instances": ["vm-1"]})), environ=environ)
    failed = run(program, cloud.add(fails(0.0, "No valid host")), environ=environ)
    assert (finished.returncode, finished.stderr, "vm-1" in finished.stdout) == (0, "", True)
    assert (failed.returncode, "No valid host" in failed.stdout + failed.stderr) == (1, True)


WEBHOOK_KEY = b"0123456789abcdef01234567"
WEBHOOK_SECRET = f"whsec_{b64encode(WEBHOOK_KEY).decode()}\n"


@contextmanager
def webhook_receiver(environ: dict[str, str]) -> Iterator[tuple[str, IO[str]]]:
    """Run the receiver of the example, and yield its URL and its output."""
    command = [sys.executable, str(EXAMPLES / "sidecar" / "receive_webhook.py"), "0"]
    environ = environ | {"WEBHOOK_SECRET": WEBHOOK_SECRET}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.stdout
        process.terminate()


def test_receiver_of_the_example_accepts_signed_webhooks_once(environ: dict[str, str]) -> None:
    """It prints each end once, and refuses what is old or signed with another secret."""
    with webhook_receiver(environ) as (url, output):
        now = time.time()
        codes = [
            post_webhook(url, "msg_1", now, WEBHOOK_KEY),
            post_webhook(url, "msg_1", now, WEBHOOK_KEY),
            post_webhook(url, "msg_2", now, b"another"),
            post_webhook(url, "msg_3", now - 600, WEBHOOK_KEY),
            post_webhook(url, "msg_4", now, b"another", WEBHOOK_KEY),
        ]
        lines = [output.readline() for _ in range(2)]
    assert codes == [204, 204, 401, 401, 204]
    assert lines == ['a finished {"instances": ["vm-1"]}\n'] * 2


def test_sidecar_sends_webhooks_to_the_receiver_of_the_example(
    cloud: SimulatedCloud, environ: dict[str, str], tmp_path: Path
) -> None:
    """Also when a failed task ends the sidecar."""
    pytest.importorskip("uvicorn", reason="needs the extra sidecar")
    (tmp_path / "secret").write_text(WEBHOOK_SECRET)
    task_id = cloud.add(fails(0.0, "No valid host"))
    options = ["--state-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]
    with webhook_receiver(environ) as (url, output):
        options += ["--webhook", url, "--webhook-secret-file", str(tmp_path / "secret")]
        ended = run(sys.executable, "-m", "waiter", "sidecar", task_id, *options, environ=environ)
        assert (ended.returncode, output.readline()) == (1, f"{task_id} failed {{}}\n")


def post_webhook(url: str, webhook_id: str, timestamp: float, *secrets: bytes) -> int:
    """Send a webhook as the sidecar does, and return the status of the answer."""
    body = json.dumps({"id": "a", "status": "finished", "created_resources": {"instances": ["vm-1"]}}).encode()
    signed = f"{webhook_id}.{int(timestamp)}.".encode() + body
    signatures = [f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in secrets]
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(int(timestamp)), "webhook-signature": " ".join(signatures)}
    try:
        with urlopen(Request(url, body, headers), timeout=10) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def test_tests_of_the_example_pass(pytester: pytest.Pytester) -> None:
    """Pytest runs the file unchanged."""
    text = (EXAMPLES / "testing" / "test_deploy.py").read_text(encoding="utf-8")
    pytester.makepyfile(text)
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=text.count("\ndef test_"))


def test_simulation_from_the_example_file(environ: dict[str, str]) -> None:
    """The request that the file describes starts a task, which can be awaited through its faults."""
    file = str(EXAMPLES / "testing" / "cloud.toml")
    assert cloud_from_script(tomllib.loads(Path(file).read_text(encoding="utf-8"))).problems()
    create = (
        "import json, os, subprocess, sys; from urllib.request import Request, urlopen\n"
        "url, key = os.environ['GCORE_BASE_URL'], os.environ['GCORE_API_KEY']\n"
        "request = Request(url + '/cloud/v2/instances/1/2', b'{}', {'Authorization': 'APIKey ' + key})\n"
        "started = urlopen(request).read()\n"
        "sys.exit(subprocess.run([sys.executable, '-m', 'waiter', 'wait', '-', '-q'], input=started).returncode)"
    )
    command = ["-m", "waiter", "simulate", file, "--speed", "20", "--", sys.executable, "-c", create]
    ran = run(sys.executable, *command, environ=environ)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["created_resources"].keys() == {"instances", "volumes"}


@pytest.mark.parametrize(
    ("program", "printed"),
    [("deploy.py", "The new instance is vm-1\n"), ("and_poll.py", "The new instance is vm-1: ACTIVE\n")],
)
def test_sdk_and_waiter_create_an_instance(cloud: SimulatedCloud, environ: dict[str, str], program: str, printed: str) -> None:
    """A wait takes what the SDK returned, and the SDK's own helper waits with waiter."""
    script = finishes(0.0, {"instances": ["vm-1"]}, project_id=1, region_id=2)
    cloud.on_request("POST", "/cloud/v2/instances/1/2", script)
    # The SDK may warn about its own code.
    variables = {"GCORE_CLOUD_PROJECT_ID": "1", "GCORE_CLOUD_REGION_ID": "2", "PYTHONWARNINGS": "default"}
    ran = run(str(EXAMPLES / "sdk" / program), environ=environ | variables)
    assert (ran.stdout, ran.returncode) == (printed, 0), ran.stderr


# A recipe is imported by its engine.
PROGRAMS = sorted(path for path in EXAMPLES.glob("*/*.py") if path.parent.name != "recipes")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_programs_say_how_to_run_them(program: Path) -> None:
    """The docstring has the command, with the name of the file."""
    text = program.read_text(encoding="utf-8")
    commands = re.findall(r"``([^`]*?)``", text.partition('"""')[2].partition('"""')[0], re.DOTALL)
    assert any(program.name in command for command in commands)
