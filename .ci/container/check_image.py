"""Tests the image as platforms run it, against a simulated cloud in its network: ``check_image.py IMAGE DIRECTORY``.

The network must have only loopback: the containers share it with this program, and port numbers are fixed.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from engine import (
    CLOUD,
    HARDENED,
    IMAGE,
    SURROUNDINGS,
    WORK,
    ask,
    check,
    ends_after,
    handles,
    mounted,
    podman,
    running,
    say,
    until,
    waiter,
)
from pods import check_pods
from registry import check_push
from tasks import ENDLESS, EXAMPLE, FAILED, FINISHED, INSTANCE, LATER, STRANGER

KEY = "1234$simulated"
USER = 65532
LARGEST = 45_000_000  # bytes; growth beyond this must be deliberate
QUICK = 1.0  # seconds
FLOOD = 1100  # connections to each listener
SHORT = 1000  # characters


def prepare() -> None:
    """Write the files that are mounted into the containers."""
    ended: dict[str, dict[str, Any]] = {
        FINISHED: {"phases": [{"state": "FINISHED"}]},
        FAILED: {"phases": [{"state": "RUNNING", "seconds": 0.3}, {"state": "ERROR"}], "error": "no valid host was found"},
        ENDLESS: {"phases": [{"state": "RUNNING"}]},
        LATER: {"phases": [{"state": "RUNNING", "seconds": 2}, {"state": "FINISHED"}]},
        EXAMPLE: {"phases": [{"state": "RUNNING", "seconds": 2}, {"state": "FINISHED"}]},
    }
    tasks = [
        {"id": name, "starts_when_seen": True, "created_resources": {"instances": [INSTANCE]}, **task}
        for name, task in ended.items()
    ]
    (WORK / "cloud.json").write_text(json.dumps({"api_key": KEY, "tasks": tasks}), encoding="ascii")
    for name, content in {"key/key": KEY, "wrong/key": "9999$wrong"}.items():
        (WORK / name).parent.mkdir()
        (WORK / name).write_text(content, encoding="ascii")
    for name in ("state", "result"):
        (WORK / name).mkdir()
        os.chown(WORK / name, USER, USER)


def check_contents() -> None:
    """Check the configuration, the labels and the files of the image."""
    image = json.loads(podman("image", "inspect", IMAGE).stdout)[0]
    config = image["Config"]
    check("runs as a user by number", found=config["User"], expected=f"{USER}:{USER}")
    check("entry point is the command", found=config["Entrypoint"], expected=["waiter"])
    check("has a health check", found=image["Healthcheck"]["Test"][0], expected="CMD")
    labels = {"title", "description", "licenses", "version", "revision", "created", "source", "base.name"}
    own = {name.removeprefix("org.opencontainers.image.") for name, value in config["Labels"].items() if value}
    check("has its labels", found=labels - own, expected=set())
    archive = subprocess.run(["podman", "save", "--format=docker-archive", IMAGE], stdout=subprocess.PIPE, check=True).stdout
    say(f"size: {image['Size'] / 1e6:.1f} MB, {len(gzip.compress(archive, 6)) / 1e6:.1f} MB compressed")
    check("is small", found=image["Size"] < LARGEST, expected=True)
    root = Path(podman("image", "mount", IMAGE).stdout.strip())
    try:
        check_files(root)
    finally:
        podman("image", "unmount", IMAGE)


def check_files(root: Path) -> None:
    """Check that there is no shell, package manager, source, setuid file or file that the user could change."""
    files = {path: path.lstat() for path in root.rglob("*") if not path.is_symlink()}
    unwanted = {"sh", "bash", "dash", "busybox", "apt", "dpkg", "pip", "pip3", "gcc"}
    check("has no tools", found=[str(path) for path in files if path.name in unwanted and path.is_file()], expected=[])
    check("has bytecode only", found=[str(path) for path in files if path.suffix == ".py"], expected=[])
    check(
        "has no setuid files",
        found=[str(path) for path, stat in files.items() if path.is_file() and stat.st_mode & 0o6000],
        expected=[],
    )
    writable = {
        str(path.relative_to(root)) for path, stat in files.items() if stat.st_mode & 0o002 or stat.st_uid or stat.st_gid
    }
    check("is not writable by its user", found=writable, expected={"tmp", "var/lib/waiter"})
    parts = {"interpreter and C libraries": 0, "standard library": 0, "packages": 0, "waiter": 0, "certificates and records": 0}
    for path, stat in files.items():
        parts[part_of(path.relative_to(root))] += stat.st_size if path.is_file() else 0
    say(", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in parts.items()))


def part_of(path: Path) -> str:
    """Return the part of the image that a file belongs to."""
    match path.parts:
        case ("opt", "waiter", "lib", _, "site-packages", "waiter", *_):
            return "waiter"
        case ("opt", *_):
            return "packages"
        case (*_, directory, _) if ".so" in path.suffixes and "linux-gnu" in directory:
            return "interpreter and C libraries"
        case _ if any(part.startswith("python3.") for part in path.parts[:-1]):
            return "standard library"
        case ("etc" | "var", *_) | ("usr", "share", *_):
            return "certificates and records"
        case _:
            return "interpreter and C libraries"


def check_init_step() -> None:
    """Check the exit codes and the output of ``waiter wait``."""
    done = waiter("wait", FINISHED, "--output=json")
    check("FINISHED is 0", found=done.returncode, expected=0)
    check("the result is printed", found=json.loads(done.stdout)["created_resources"], expected={"instances": [INSTANCE]})
    query = waiter("wait", FINISHED, "--output=text", "--query=created_resources.instances[0]")
    check("a part of it is printed", found=(query.returncode, query.stdout), expected=(0, f"{INSTANCE}\n"))
    done = waiter("wait", FAILED)
    check("ERROR is 1", found=done.returncode, expected=1)
    check("with the reason", found="no valid host was found" in done.stderr, expected=True)
    wrong_key = (f"--volume={WORK}/wrong:/run/secrets/gcore:ro",)
    for what, code, args in (
        ("wrong usage", 2, ("wait", "--nonsense", FINISHED)),
        ("no such task", 4, ("wait", STRANGER)),
        ("no API", 5, ("wait", FINISHED, "--base-url=http://127.0.0.1:1", "--max-outage=1s")),
        ("a stall", 6, ("wait", ENDLESS, "--stall-timeout=1s")),
        ("a time-out", 124, ("wait", ENDLESS, "--timeout=1s")),
        ("the command's own", 7, ("wait", FINISHED, "--", "python", "-c", "raise SystemExit(7)")),
    ):
        check(f"{what} is {code}", found=waiter(*args).returncode, expected=code)
    refused = podman("run", "--rm", *HARDENED, *SURROUNDINGS, *wrong_key, *mounted()[1:], IMAGE, "wait", FINISHED, ok=False)
    check("a wrong key is 3", found=refused.returncode, expected=3)


def check_signals() -> None:
    """Check that SIGTERM ends a wait at any time after the launcher has its handler."""
    with running("wait", "wait", ENDLESS):
        time.sleep(1)
        code, took = ends_after("wait", signal.SIGTERM)
    check("SIGTERM is 143", found=code, expected=143)
    check(f"SIGTERM ends a wait quickly ({took:.3f} s)", found=took < QUICK, expected=True)
    for delay in (0, 0.03, 0.06, 0.1, 0.15, 0.2):
        with running("wait", "wait", ENDLESS):
            until("the launcher has its handler", lambda: handles("wait", signal.SIGTERM))
            time.sleep(delay)
            code, took = ends_after("wait", signal.SIGTERM)
        check(f"also {delay} s later ({took:.3f} s)", found=(code, took < QUICK), expected=(143, True))


def check_init_process() -> None:
    """Check that process 1 reaps orphans and passes signals on, before and while a command runs, and in a sidecar."""
    orphans = (
        "import os, time\nfor _ in range(3):\n    if not os.fork():\n        if os.fork(): os._exit(0)\n        os._exit(0)\n"
    )
    states = "[open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] for pid in os.listdir('/proc') if pid.isdigit()]"
    # The three children are this program's own; their children are orphans.
    program = f"{orphans}for _ in range(3): os.wait()\ntime.sleep(0.3)\nprint(os.getpid() > 1, {states}.count('Z'))"
    done = waiter("wait", FINISHED, "--output=ids", "--", "python", "-c", program)
    check("a command is a child of process 1, which reaps orphans", found=done.stdout.splitlines()[-1], expected="True 0")
    check_passed_signals()
    for args in (("wait", ENDLESS), ("sidecar", "--state-dir=/tmp")):
        with running("parent", *args, options=("--tmpfs=/tmp:mode=1777",)) as name:
            podman("exec", name, "python", "-c", orphans)
            count = ("exec", name, "python", "-c", f"import os\nprint({states}.count('Z'))")
            until(f"waiter {args[0]} reaps orphans", lambda count=count: podman(*count, ok=False).stdout == "0\n")  # type: ignore[misc]


def check_passed_signals() -> None:
    """Check that process 1 passes the signals of platforms and terminals on to the command, and exits with its code."""
    passed = [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGWINCH]
    program = (
        "import signal, sys, time\n"
        f"for number in {[int(one) for one in passed]}:\n"
        "    signal.signal(number, lambda number, _: print(signal.Signals(number).name, flush=True))\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(60)"
    )
    with running("command", "wait", FINISHED, "--", "python", "-c", program) as name:
        until("the command runs", lambda: "ready" in podman("logs", name).stdout)
        for one in passed:
            podman("kill", f"--signal={one.name}", name)
            until(f"the command gets {one.name}", lambda one=one: one.name in podman("logs", name).stdout.split())  # type: ignore[misc]
        code, took = ends_after(name, signal.SIGTERM)
    check(f"the command gets SIGTERM ({took:.3f} s)", found=(code, took < QUICK), expected=(9, True))
    ended = waiter("wait", FINISHED, "--", "python", "-c", "import os; os.kill(os.getpid(), 10)")
    check("a command that a signal ends gives 128 and its number", found=ended.returncode, expected=128 + signal.SIGUSR1)


def check_start() -> None:
    """Measure a wait for a task that has already ended, without the time of podman."""
    program = (
        "import subprocess, sys, time\n"
        "for _ in range(11):\n"
        "    began = time.perf_counter()\n"
        "    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "    print(time.perf_counter() - began)\n"
    )
    for what, args in {"waiter --version": ["--version"], "waiter wait, FINISHED": ["wait", FINISHED, "--quiet"]}.items():
        run = podman(
            "run", "--rm", *HARDENED, *SURROUNDINGS, *mounted(), "--entrypoint=python", IMAGE, "-c", program, "waiter", *args
        )
        times = [float(line) for line in run.stdout.split()]
        say(f"{what}: {statistics.median(times):.3f} s (median of {len(times)})")


def check_sidecar() -> None:
    """Check the probes, accepted waits after SIGKILL, and the end after SIGTERM."""
    volumes = (f"--volume={WORK}/state:/var/lib/waiter", f"--volume={WORK}/result:/result")
    with running("sidecar", "sidecar", LATER, "--result-file=/result/waiter.json", options=volumes) as name:
        until("the sidecar is live", lambda: ask("GET", "127.0.0.1:8081/livez")[0] == HTTPStatus.OK)
        check("the sidecar is not ready", found=ask("GET", "127.0.0.1:8081/readyz")[0], expected=503)
        check("its health check passes", found=health(name), expected=(0, ""))
        until("it is ready once its task is FINISHED", lambda: ask("GET", "127.0.0.1:8081/readyz")[0] == HTTPStatus.OK)
        check("the sidecar is started", found=ask("GET", "127.0.0.1:8081/startupz")[0], expected=HTTPStatus.OK)
        result = json.loads((WORK / "result/waiter.json").read_bytes())
        check("the result is in the file", found=result["created_resources"], expected={"instances": [INSTANCE]})
        check("a wait is accepted", found=ask("POST", "127.0.0.1:8080/v1/waits", {"tasks": [ENDLESS]})[0], expected=202)
        metrics = ask("GET", "127.0.0.1:8081/metrics")[1]
        check("the wait is in the metrics", found=b'waiter_waits{state="waiting"} 1.0\n' in metrics, expected=True)
        memory = (
            int(Path(f"/proc/{podman('inspect', '--format={{.State.Pid}}', name).stdout.strip()}/statm").read_text().split()[1])
            * 4096
        )
        say(f"memory of the sidecar: {memory / 1e6:.0f} MB")
        check("SIGKILL is 137", found=ends_after(name, signal.SIGKILL)[0], expected=137)
    with running("sidecar", "sidecar", options=volumes) as name:
        until("the sidecar is live again", lambda: ask("GET", "127.0.0.1:8081/livez")[0] == HTTPStatus.OK)
        status, wait = ask("GET", f"127.0.0.1:8080/v1/waits/{ENDLESS}")
        check("the wait is resumed", found=(status, json.loads(wait)["status"]), expected=(200, "waiting"))
        code, took = ends_after(name, signal.SIGTERM)
    check("SIGTERM is 0", found=code, expected=0)
    check(f"SIGTERM ends a sidecar quickly ({took:.3f} s)", found=took < QUICK, expected=True)
    with running("sidecar", "simulate", f"--listen=127.0.0.1:{8091}") as name:
        check("the health check of another command passes", found=health(name), expected=(0, ""))
    shut = waiter("sidecar", "--listen=0.0.0.0:8080", options=volumes)
    check("an open control listener without a token is 2", found=shut.returncode, expected=2)
    check("a sidecar without a state directory that it can write is 2", found=waiter("sidecar").returncode, expected=2)


def check_health_check() -> None:
    """Check that the health check finds its own sidecar: below an init process, on another port, among other containers."""
    options = ("--init", "--tmpfs=/tmp:mode=1777")
    listeners = ("--listen=127.0.0.1:9000", "--probe-listen=127.0.0.1:9001")
    with running("first", "sidecar", "--state-dir=/tmp", *listeners, options=options) as name:
        until("the sidecar is live", lambda: ask("GET", "127.0.0.1:9001/livez")[0] == HTTPStatus.OK)
        check(
            "the health check of a sidecar on another port, below an init process, passes", found=health(name), expected=(0, "")
        )
        init = podman("inspect", "--format={{.State.Pid}}", name).stdout.strip()
        (sidecar,) = Path(f"/proc/{init}/task/{init}/children").read_text(encoding="ascii").split()
        with running("second", "simulate", "--listen=127.0.0.1:8092", options=(f"--pid=container:{name}",)) as neighbour:
            os.kill(int(sidecar), signal.SIGSTOP)
            check("the health check of a stopped sidecar fails", found=health(name)[0], expected=1)
            check("that of another container of its process namespace passes", found=health(neighbour), expected=(0, ""))
            os.kill(int(sidecar), signal.SIGCONT)
        check("it passes again", found=health(name), expected=(0, ""))


def check_flood() -> None:
    """Check that both listeners answer while more idle connections are opened than the process may have descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    volumes = (f"--volume={WORK}/state:/var/lib/waiter",)
    with running("sidecar", "sidecar", options=volumes) as name, ExitStack() as connections:
        until("the sidecar is live", lambda: ask("GET", "127.0.0.1:8081/livez")[0] == HTTPStatus.OK)
        pid = podman("inspect", "--format={{.State.Pid}}", name).stdout.strip()
        limit = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").partition("Max open files")[2].split()[0]
        check("the limit of descriptors", found=limit, expected="1024")
        for number in range(2 * FLOOD):
            with suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", (8080, 8081)[number % 2]), timeout=5)
                connections.enter_context(connection).sendall(b"GET / HTTP/1.1\r\n")
        for what in ("127.0.0.1:8081/livez", "127.0.0.1:8081/metrics", "127.0.0.1:8080/v1/waits"):
            began = time.monotonic()
            codes = {ask("GET", what)[0] for _ in range(10)}
            check(f"{what} answers in a flood ({(time.monotonic() - began) / 10:.3f} s)", found=codes, expected={HTTPStatus.OK})
        opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        check(f"{opened} of 1024 descriptors are open", found=opened < int(limit) - 100, expected=True)
        check("the log stays short", found=len(podman("logs", name).stderr) < SHORT, expected=True)


def health(name: str) -> tuple[int, str]:
    """Run the image's health check in a container and return its exit code and standard error."""
    test = json.loads(podman("image", "inspect", IMAGE).stdout)[0]["Healthcheck"]["Test"]
    done = podman("exec", name, *test[1:], ok=False)
    return done.returncode, done.stderr


def main() -> None:
    """Check everything."""
    prepare()
    check_contents()
    script = (f"--volume={WORK}/cloud.json:/cloud.json:ro",)
    with running("cloud", "simulate", "/cloud.json", f"--listen={CLOUD}", options=script):
        until("the simulated cloud answers", lambda: ask("GET", f"{CLOUD}/")[0] != 0)
        check_init_step()
        check_signals()
        check_init_process()
        check_start()
        check_sidecar()
        check_health_check()
        check_flood()
        check_pods()
        check_push()
        code, _ = ends_after("cloud", signal.SIGTERM)
    check("the simulation ends with 0", found=code, expected=0)


if __name__ == "__main__":
    main()
