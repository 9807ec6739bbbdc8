"""The examples for pipelines and for Python, run unchanged against the simulation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from msgspec.structs import replace

from waiter.testing import Script, SimulatedCloud, fails, finishes, resources_fail

EXAMPLES = Path(__file__).parents[2] / "examples"
PIPELINES = EXAMPLES / "pipelines"
INSTANCES = "/cloud/v2/instances/1/2"
FINISHES = finishes(0.1, {"instances": ["vm-1"]})
CURL = """\
#!/bin/sh
# Sends the requests for the API to the simulation.
for word; do
    shift
    case $word in https://api.gcore.com/*) word=$GCORE_BASE_URL${word#https://api.gcore.com} ;; esac
    set -- "$@" "$word"
done
exec REAL "$@"
"""


class Step(NamedTuple):
    """One shell script of a pipeline."""

    shell: list[str]
    script: str
    env: Mapping[str, str]


def github_steps() -> list[dict[str, Any]]:
    """Return the steps of the workflow as the file has them."""
    steps: list[dict[str, Any]] = yaml.safe_load((PIPELINES / "github-actions.yml").read_text())["jobs"]["deploy"]["steps"]
    return steps


def github_scripts() -> list[Step]:
    """Return the steps of the workflow that run a script."""
    # How the runner starts "run": https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
    return [Step(["bash", "-e", "-c"], step["run"], step.get("env", {})) for step in github_steps() if "run" in step]


def gitlab_steps() -> list[Step]:
    """Return the script of each job of the pipeline."""
    pipeline = yaml.safe_load((PIPELINES / "gitlab-ci.yml").read_text())
    jobs = [job for name, job in pipeline.items() if name != "stages"]
    scripts = ["\n".join([*job.get("before_script", []), *job["script"]]) for job in jobs]
    return [Step(["sh", "-e", "-c"], script, {}) for script in scripts]


def action_scripts(**inputs: str) -> list[Step]:
    """Return the steps of the composite action, with these inputs."""
    action = yaml.safe_load((EXAMPLES / "github-action" / "action.yml").read_text())
    values = {name: str(definition.get("default", "")) for name, definition in action["inputs"].items()} | inputs
    steps = action["runs"]["steps"]
    # How the runner starts "shell: bash".
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    return [Step(shell, step["run"], {name: with_inputs(text, values) for name, text in step["env"].items()}) for step in steps]


def with_inputs(text: str, values: Mapping[str, str]) -> str:
    """Replace the inputs of an action or of a component."""
    return re.sub(
        r"\$\{\{ inputs\.([\w-]+) \}\}|\$\[\[ inputs\.([\w-]+) \]\]", lambda found: values[found[1] or found[2]], text
    )


def component_step(**inputs: str) -> Step:
    """Return the job of the GitLab component, with these inputs."""
    described, template = (EXAMPLES / "gitlab-component" / "templates" / "wait.yml").read_text().split("\n---\n")
    described_inputs = yaml.safe_load(described)["spec"]["inputs"]
    defaults = {name: json.dumps(one.get("default", "")).strip('"') for name, one in described_inputs.items()}
    (job,) = yaml.safe_load(with_inputs(template, defaults | inputs)).values()
    return Step(["sh", "-e", "-c"], "\n".join(job["script"]), job["variables"])


def terraform_steps() -> list[Step]:
    """Return the commands of the provisioners, with their interpreter and their environment."""
    text = (EXAMPLES / "terraform" / "main.tf").read_text()
    interpreters = [re.findall(r'"([^"]+)"', words) for words in re.findall(r"interpreter = \[(.*)\]", text)]
    commands = [textwrap.dedent(found) for found in re.findall(r"command +=\s<<-EOT\n(.*?)\n *EOT", text, re.DOTALL)]
    env = {"INSTANCES_URL": "https://api.gcore.com" + INSTANCES, "INSTANCE": (PIPELINES / "instance.json").read_text()}
    assert set(re.findall(r"^      (\w+) += \S", text, re.MULTILINE)) == set(env)
    return [Step(interpreter, command, env) for interpreter, command in zip(interpreters, commands, strict=True)]


class Pipeline:
    """A simulated account, a folder with the examples, and an environment whose programs use the simulation."""

    def __init__(self, folder: Path, environ: Mapping[str, str], script: Script) -> None:
        self.folder = folder
        self.account = SimulatedCloud(strict=False)
        self.account.on_request("POST", INSTANCES, script)
        self.serving = self.account.serve()
        url = self.serving.__enter__()
        for topic in ("pipelines", "python"):
            shutil.copytree(EXAMPLES / topic, folder, dirs_exist_ok=True)
        self._add_programs(folder / "bin")
        self.env = {**environ, "GCORE_BASE_URL": url, "GCORE_API_KEY": self.account.api_key, "INSTANCES_URL": url + INSTANCES}
        self.env |= {"PATH": f"{folder / 'bin'}:{environ['PATH']}", "WAIT_TIMEOUT": "1s", "PROJECT_ID": "1", "REGION_ID": "2"}

    def _add_programs(self, folder: Path) -> None:
        programs = {"waiter": f'#!/bin/sh\nexec {sys.executable} -m waiter "$@"\n', "curl": CURL.replace("REAL", real("curl"))}
        installers = dict.fromkeys(("pip", "pipx", "apt-get"), '#!/bin/sh\necho "$0 $*" >> installed\n')
        folder.mkdir()
        for name, text in (programs | installers).items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        """Start a program in the folder."""
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, cwd=self.folder, env=self.env | env, text=True, stdout=pipe, stderr=pipe)

    def run(self, step: Step, **env: str) -> str:
        """Run a step that must succeed, and return its standard output."""
        with self.start(*step.shell, step.script, **env) as child:
            out, err = child.communicate(timeout=60)
        assert (child.returncode, "Traceback" in err) == (0, False), err
        return out


def real(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}")
    return found


def expected(code: int, out: str = "", err: str = "") -> tuple[int, str, str]:
    return code, out, err


RUNS: dict[str, tuple[list[str], Script, tuple[int, str, str]]] = {
    "make": (["make", "--silent", "deploy"], FINISHES, expected(0, "The new instance is vm-1\n")),
    "shell, finished": (["./deploy.sh"], FINISHES, expected(0, "The new instance is vm-1\n")),
    "shell, failed": (["./deploy.sh"], fails(0.0), expected(1, "", "the lines above name what to clean up.\n")),
    "shell, timed out": (["./deploy.sh"], finishes(60), expected(124, "", "resume with the command printed above.\n")),
    "Python, finished": ([sys.executable, "deploy.py"], FINISHES, expected(0, "The new instance is vm-1\n")),
    "Python, failed": (
        [sys.executable, "deploy.py"],
        fails(0.0, "No valid host", {"volumes": ["disk"]}),
        expected(1, "", "; it created volumes disk\n"),
    ),
}


@pytest.fixture(scope="module")
def environment(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Make pipelines, each in a new folder."""
    made: list[Pipeline] = []

    def make(script: Script = FINISHES) -> Pipeline:
        made.append(Pipeline(tmp_path_factory.mktemp("pipeline"), environ, script))
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.serving.__exit__(None, None, None)


@pytest.fixture(scope="module")
def programs(environment: Any) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All programs, started together."""
    children = {name: environment(script).start(*argv) for name, (argv, script, _) in RUNS.items()}
    pipeline = environment()
    late = pipeline.account.add(replace(finishes(0.3, {"instances": ["vm-2"]}), starts_when_seen=True))
    soon = pipeline.account.add(finishes(0.0, {"instances": ["vm-1"]}))
    children["asynchronous Python"] = pipeline.start(sys.executable, "async_deploy.py", late, soon)
    yield children
    for child in children.values():
        child.communicate(timeout=60)


@pytest.mark.parametrize("name", RUNS)
def test_each_program_handles_each_outcome(programs: dict[str, subprocess.Popen[str]], name: str) -> None:
    """Success, failure and time-out have different exit codes and messages."""
    code, out, err = RUNS[name][2]
    printed = programs[name].communicate(timeout=60)
    assert (programs[name].returncode, printed[0]) == (code, out)
    assert printed[1].endswith(err)


def test_asynchronous_example_prints_tasks_in_the_order_of_their_end(programs: dict[str, subprocess.Popen[str]]) -> None:
    """The task that ends first is printed first, whatever the order of the arguments."""
    out, err = programs["asynchronous Python"].communicate(timeout=60)
    assert (programs["asynchronous Python"].returncode, err) == (0, "")
    assert [line.partition(": ")[2] for line in out.splitlines()] == ["{'instances': ['vm-1']}", "{'instances': ['vm-2']}"]


def test_github_workflow_checks_out_before_it_reads_a_file() -> None:
    """The first step is a checkout, pinned to a commit: without it instance.json does not exist on the runner."""
    assert re.fullmatch(r"actions/checkout@[0-9a-f]{40}", github_steps()[0]["uses"])


def test_github_workflow_passes_the_id_to_the_last_step(environment: Any) -> None:
    """The scripts run in order, and the last one uses the output of the one that waits."""
    pipeline: Pipeline = environment()
    outputs = pipeline.folder / "outputs"
    printed = ""
    for step in github_scripts():
        written = outputs.read_text() if outputs.exists() else ""
        found = dict(re.findall(r"(\w+)<<(?:\w+)\n(.*)\n", written))
        env = {name: expand(str(value), pipeline.env, found) for name, value in step.env.items()}
        printed = pipeline.run(step, GITHUB_OUTPUT=str(outputs), GITHUB_ACTIONS="true", CI="true", **env)
    assert printed == "The new instance is vm-1\n"
    assert "pipx install gcore-waiter" in (pipeline.folder / "installed").read_text()


def expand(value: str, env: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """Replace each ``${{ ... }}`` as GitHub does."""

    def replacement(found: re.Match[str]) -> str:
        name = found[1].rpartition(".")[2]
        return outputs[name] if ".outputs." in found[1] else env.get(name) or env[name.removeprefix("GCORE_")]

    return re.sub(r"\$\{\{ (\S+) \}\}", replacement, value)


def test_github_action_outputs_what_was_created(environment: Any) -> None:
    """The output is JSON in one line, and waiter comes from the repository of the action."""
    pipeline: Pipeline = environment()
    outputs = pipeline.folder / "outputs"
    variables = {"GITHUB_OUTPUT": str(outputs), "GITHUB_ACTION_PATH": "/action/examples/github-action"}
    task_id = pipeline.account.add(FINISHES)
    for step in action_scripts(tasks=task_id, **{"api-key": pipeline.account.api_key}):
        pipeline.run(step, **step.env, **variables)
    name, _, value = outputs.read_text().partition("=")
    assert (name, json.loads(value)) == ("created-resources", {"instances": ["vm-1"]})
    assert "pipx install /action/examples/github-action/../..\n" in (pipeline.folder / "installed").read_text()


def test_github_action_fails_with_the_code_of_waiter(environment: Any) -> None:
    """A failed task fails the step, and nothing is output."""
    pipeline: Pipeline = environment()
    outputs = pipeline.folder / "outputs"
    step = action_scripts(tasks=pipeline.account.add(fails(0.0)), **{"api-key": pipeline.account.api_key})[-1]
    with pipeline.start(*step.shell, step.script, **step.env, GITHUB_OUTPUT=str(outputs)) as child:
        child.communicate(timeout=60)
    assert (child.returncode, outputs.exists()) == (1, False)


@pytest.mark.parametrize("is_action", [True, False])
def test_actions_wait_until_resources_are_ready(environment: Any, is_action: bool) -> None:
    """With the input ready, a resource that fails after its task is a failure."""
    pipeline: Pipeline = environment()
    task_id = pipeline.account.add(resources_fail(0.0, finishes(0.0, {"images": ["m-1"]})))
    (pipeline.folder / "tasks.txt").write_text(task_id)
    for ready, code in (("false", 0), ("true", 1)):
        if is_action:
            step = action_scripts(tasks=task_id, ready=ready, **{"api-key": pipeline.account.api_key})[-1]
        else:
            step = component_step(package="waiter.whl", ready=ready, **{"tasks-file": "tasks.txt"})
        with pipeline.start(*step.shell, step.script, **step.env, GITHUB_OUTPUT=str(pipeline.folder / "outputs")) as child:
            child.communicate(timeout=60)
        assert child.returncode == code


def test_gitlab_component_passes_the_id_to_the_next_job(environment: Any) -> None:
    """The dotenv file has the IDs of the tasks in the given file."""
    pipeline: Pipeline = environment()
    (pipeline.folder / "tasks.txt").write_text(pipeline.account.add(FINISHES))
    step = component_step(package="waiter.whl", **{"tasks-file": "tasks.txt"})
    pipeline.run(step, **step.env)
    assert (pipeline.folder / "created.env").read_text() == "INSTANCES=vm-1\n"
    assert "pip install waiter.whl\n" in (pipeline.folder / "installed").read_text()


def test_gitlab_pipeline_passes_the_id_to_the_next_job(environment: Any) -> None:
    """The first job writes a dotenv file, whose variables are in the environment of the second."""
    pipeline: Pipeline = environment()
    create, use = gitlab_steps()
    pipeline.run(create, CI="true")
    dotenv = dict(line.split("=", 1) for line in (pipeline.folder / "created.env").read_text().splitlines())
    assert pipeline.run(use, **dotenv) == "The new instance is vm-1\n"
    assert "pip install gcore-waiter" in (pipeline.folder / "installed").read_text()


def test_terraform_provisioners_write_the_result_as_json(environment: Any) -> None:
    """The commands run in the interpreter that the configuration names."""
    real("bash")
    pipeline: Pipeline = environment()
    for step in terraform_steps():
        pipeline.run(step, **step.env)
    created = yaml.safe_load((pipeline.folder / "created.json").read_text())
    assert created["created_resources"] == {"instances": ["vm-1"]}


def test_pipeline_stops_when_the_request_fails(environment: Any) -> None:
    """No example waits after curl has failed."""
    pipeline: Pipeline = environment()
    nowhere = {"GCORE_BASE_URL": "http://127.0.0.1:9", "INSTANCES_URL": "http://127.0.0.1:9"}
    request = github_scripts()[1]
    steps = [request, gitlab_steps()[0], terraform_steps()[0]]
    children = [pipeline.start(*step.shell, step.script, **{**step.env, **nowhere, "PROJECT_ID": "1"}) for step in steps]
    children += [pipeline.start("./deploy.sh", **nowhere), pipeline.start("make", "--silent", "deploy", **nowhere)]
    printed = [child.communicate(timeout=60) for child in children]
    assert [child.returncode != 0 for child in children] == [True] * 5
    assert [out for out, _ in printed] == [""] * 5
    assert not (pipeline.folder / "created.env").exists()
