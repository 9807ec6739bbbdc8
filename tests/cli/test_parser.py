"""Arguments, their environment variables, and usage errors."""

from __future__ import annotations

import argparse

import pytest
from command_parts import GOOD, Run

from waiter.cli.parser import Parser, split_command, variable
from waiter.cli.registry import load_command
from waiter.console.arguments import waiter_options

WRITE = "(write 5, 0.5, 5s or 1m30s)"


def parse(*argv: str, **environ: str) -> argparse.Namespace:
    return load_command("wait").make_parser().parse(argv, environ)


def test_options_may_stand_between_ids() -> None:
    """IDs and options may come in any order."""
    args = parse("a", "--timeout", "5", "b", "-q", "c")
    assert (args.task_ids, args.timeout, args.quiet) == (["a", "b", "c"], 5.0, True)


def test_every_option_has_an_environment_variable() -> None:
    """The help names the variable."""
    named = {variable(action) for action in load_command("wait").make_parser().options()}
    assert named == {
        "WAITER_TIMEOUT", "WAITER_MAX_OUTAGE", "WAITER_STALL_TIMEOUT", "WAITER_INTERVAL", "WAITER_PRICE", "WAITER_NO_LEARN",
        "WAITER_MAX_RPS", "WAITER_OUTPUT", "WAITER_QUERY", "WAITER_STRICT",
        "WAITER_RETURN_WHEN", "WAITER_READY", "WAITER_ACK", "WAITER_PROGRESS", "WAITER_QUIET", "WAITER_OTEL",
        "WAITER_CREATOR", "WAITER_ACTIVE", "WAITER_PROJECT", "WAITER_REGION", "WAITER_TYPE",
        "WAITER_LOG_FORMAT", "WAITER_LOG_LEVEL", "WAITER_API_KEY_FILE", "WAITER_BASE_URL", "WAITER_ALLOW_HTTP",
    }  # fmt: skip
    page = "".join(load_command("wait").make_parser().format_help().split())
    assert [name for name in named if f"[{name}" not in page] == []


def test_command_line_overrides_the_environment() -> None:
    """Missing options are read from the environment."""
    environ = {"WAITER_TIMEOUT": "30m", "WAITER_QUIET": "yes", "WAITER_NO_LEARN": "0", "WAITER_OUTPUT": "ids"}
    args = parse("a", "-o", "env", **environ)
    assert (args.timeout, args.quiet, args.no_learn, args.output) == (1800.0, True, False, "env")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WAITER_TIMEOUT", "soon", "WAITER_TIMEOUT: not a duration: 'soon' (write 90, 90s, 30m, 1h30m or none)"),
        ("WAITER_OUTPUT", "xml", "WAITER_OUTPUT: 'xml' is none of text, json, ids, env, github, events"),
        ("WAITER_QUIET", "perhaps", "WAITER_QUIET: neither yes nor no: 'perhaps'"),
    ],
)
def test_invalid_environment_variable_is_named(run: Run, name: str, value: str, message: str) -> None:
    """``--help`` works nevertheless."""
    ran = run("wait", GOOD, env={name: value})
    assert (ran.code, ran.out, ran.err) == (2, "", f"waiter wait: {message}\ntry: waiter wait --help\n")
    assert run("wait", "--help").code == 0


@pytest.mark.parametrize(
    ("asked", "given"), [("--price=2", {"price": 2.0}), ("--interval=3", {"wait": 3.0}), ("-q", {"wait": 9.0})]
)
def test_option_overrides_an_exclusive_one_of_the_environment(asked: str, given: dict[str, float]) -> None:
    """A schedule on the command line replaces another one in the environment."""
    options = waiter_options(load_command("wait").make_parser().parse(["a", asked], {"WAITER_INTERVAL": "9s"}))
    assert {name: getattr(value, "wait_fixed", value) for name, value in options.items()} == given


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["wait", GOOD, "--tiemout", "5"], "waiter wait: unknown option --tiemout: did you mean --timeout?"),
        (["wait", GOOD, "--xyzzy"], "waiter wait: unknown option --xyzzy"),
        (["wait", GOOD, "-x"], "waiter wait: unknown option -x: the short options are -h, -o, -q"),
        (["status", "-x", GOOD], "waiter status: unknown option -x: the short options are -h, -o"),
        (["wait", GOOD, "--format=json"], "waiter wait: unknown option --format: did you mean --output?"),
        (["wait", GOOD, "--jq", "."], "waiter wait: unknown option --jq: did you mean --query? It takes JMESPath"),
        (["wait", GOOD, "--json"], "waiter wait: unknown option --json: did you mean --output json?"),
        (["wait", GOOD, "--no-color"], "waiter wait: unknown option --no-color: set NO_COLOR=1"),
        (["status", GOOD, "--project", "1"], "waiter status: unknown option --project: a task ID needs no project"),
        (["wait", GOOD, "--project", "1"], "waiter wait: --project goes with --active: a task ID needs none"),
        (["wait", "--active", "--region=x"], "waiter wait: argument --region: not an ID: 'x' (a number)"),
        (["list", "--all", "--state=new"], "waiter list: argument --state: not allowed with argument --all"),
        (["wait", GOOD, "-v"], "waiter wait: unknown option -v: did you mean --log-level debug, or waiter --version?"),
        (["help", "wait"], "waiter: 'help' is no command: did you mean waiter --help, or waiter COMMAND --help?"),
        (["wait"], "waiter wait: the following arguments are required: TASK_ID, - or --active"),
        (["wait", GOOD, "--price", "x"], "waiter wait: argument --price: not a number above 0: 'x'"),
        (["wait", GOOD, "--max-rps", "0"], "waiter wait: argument --max-rps: not a number above 0: '0'"),
        (["wait", GOOD, "--interval", "none"], f"waiter wait: argument --interval: not an interval: 'none' {WRITE}"),
        (["wait", GOOD, "--interval", "0"], f"waiter wait: argument --interval: not an interval: '0' {WRITE}"),
        (["wait", "a", "--interval=1", "--price=1"], "waiter wait: argument --price: not allowed with argument --interval"),
        (["history", "a", "b"], "waiter history: one argument too many: b"),
        (["history", " "], "waiter history: argument TASK_TYPE: not a name: ' '"),
        (["history", "caf\udcff"], r"waiter history: argument TASK_TYPE: not a name: 'caf\udcff'"),
        (["history", "--", "a"], "waiter history: only waiter wait and waiter simulate take a command after --"),
        (["simulate", "--speed", "nan"], "waiter simulate: argument --speed: not a number above 0: 'nan'"),
        (["simulate", "--fault-rate", "2"], "waiter simulate: argument --fault-rate: not a number from 0 to 1: '2'"),
        (["wiat", GOOD], "waiter: 'wiat' is no command: did you mean wait?"),
        ([GOOD], f"waiter: '{GOOD}' is no command: did you mean waiter wait {GOOD}?"),
        (["--halp"], "waiter: unknown option --halp: did you mean --help?"),
        (["wait", GOOD, "--"], "waiter wait: a command must follow --"),
        (["status", GOOD, "--", "ls"], "waiter status: only waiter wait and waiter simulate take a command after --"),
    ],
)  # fmt: skip
def test_usage_errors_suggest_a_correction(run: Run, argv: list[str], message: str) -> None:
    """The message has the error, a suggestion and the command for help; standard output stays empty."""
    ran = run(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == message
    assert ran.err.splitlines()[1].startswith("try: waiter")


@pytest.mark.parametrize("argv", [["--api-key", "1234$secret"], ["--api-key=1234$secret"]])
def test_api_key_option_is_refused_without_repeating_the_key(run: Run, argv: list[str]) -> None:
    """The message gives the reason."""
    ran = run("wait", GOOD, *argv)
    assert ran.code == 2
    assert "there is no --api-key" in ran.err
    assert "secret" not in ran.err


def test_arguments_are_split_at_the_first_two_dashes() -> None:
    """Later ``--`` belong to the command."""
    assert split_command(["wait", "a"]) == (["wait", "a"], None)
    assert split_command(["wait", "a", "--", "git", "log", "--", "x"]) == (["wait", "a"], ["git", "log", "--", "x"])


def test_repeated_option_replaces_the_environment() -> None:
    """In the environment several values stand between commas; one on the command line replaces them all."""
    parser = load_command("list").make_parser()
    environ = {"WAITER_STATE": "new,error", "WAITER_PROJECT": "1,2"}
    args = parser.parse(["--project", "3", "--project=4"], environ)
    assert (args.state, args.project, args.region) == (["NEW", "ERROR"], [3, 4], None)
    assert load_command("list").make_parser().parse(["--all"], environ).state is None


def test_groups_of_a_parser() -> None:
    """The manual page reads the options by group."""
    parser: Parser = load_command("history").make_parser()
    assert [title for title, _ in parser.groups()][:2] == ["positional arguments", "options"]
