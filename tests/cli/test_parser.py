"""Arguments, their environment, and mistakes."""

from __future__ import annotations

import argparse

import pytest
from command_parts import GOOD, Run
from hypothesis import given
from hypothesis import strategies as st

from waiter import __version__
from waiter.cli import commands
from waiter.cli.parser import Parser, split_command, variable
from waiter.console import stderr
from waiter.console.arguments import waiter_options
from waiter.console.formatting import ascii_printable, format_duration, parse_duration, printable
from waiter.errors import AuthenticationError, ConfigurationError, TaskNotFoundError

WRITE = "(write 5, 0.5, 5s or 1m30s)"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5s", 1.5), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("1h1m1s", 3661), ("0", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    """Times are written as people write them, in seconds when there is no unit."""
    assert parse_duration(text) == seconds


def test_for_ever() -> None:
    """``none`` is no limit at all."""
    assert parse_duration("none") == float("inf")


@pytest.mark.parametrize("text", ["", "3 parsecs", "-1", "1s1h", "h", "m30", "1e3", "\x1b[2J"])
def test_no_duration(text: str) -> None:
    """What cannot be read is refused, with what can be."""
    with pytest.raises(ValueError, match=r"not a duration: .* \(write 90, 90s, 30m, 1h30m or none\)"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10_000_000))
def test_what_is_written_can_be_read(seconds: int) -> None:
    """A duration that waiter writes is one that it reads, to within the unit that it leaves out."""
    assert abs(parse_duration(format_duration(seconds)) - seconds) <= (60 if seconds >= 3600 else 0)


@given(st.text())
def test_foreign_text_is_harmless(text: str) -> None:
    """Whatever the API says is one line of printable characters, and of plain ones where columns count."""
    assert printable(text).isprintable()
    assert ascii_printable(text).isascii()
    assert ascii_printable(text).isprintable()


def test_errors_speak_the_language_of_the_command() -> None:
    """The library names its arguments; the command its options. Notes are part of what is said."""
    error = ConfigurationError("no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or pass api_key")
    assert stderr.describe(error) == "no API key: set GCORE_API_KEY or GCORE_API_KEY_FILE, or use --api-key-file"
    noted = TaskNotFoundError("no such task (404)")
    noted.add_note("it may belong to another account")
    assert stderr.describe(noted) == "no such task (404); it may belong to another account"


def test_a_refused_key_comes_with_the_usual_reason() -> None:
    """A shell eats half of a key that does not stand in single quotes."""
    assert stderr.describe(AuthenticationError("the API key is not accepted (401)")) == (
        "the API key is not accepted (401); a key with a $ in it must stand in single quotes, or the shell expands part of it"
    )


def parse(*argv: str, **environ: str) -> argparse.Namespace:
    return commands.wait().parse(argv, environ)


def test_options_may_stand_between_ids() -> None:
    """IDs and options come in any order."""
    args = parse("a", "--timeout", "5", "b", "-q", "c")
    assert (args.task_ids, args.timeout, args.quiet) == (["a", "b", "c"], 5.0, True)


def test_every_option_of_the_contract() -> None:
    """Each option has the environment variable that the contract promises, and its help says so."""
    named = {variable(action) for action in commands.wait().options()}
    assert named == {
        "WAITER_TIMEOUT", "WAITER_MAX_OUTAGE", "WAITER_STALL_TIMEOUT", "WAITER_INTERVAL", "WAITER_PRICE", "WAITER_NO_LEARN",
        "WAITER_MAX_RPS", "WAITER_OUTPUT", "WAITER_QUERY", "WAITER_RETURN_WHEN", "WAITER_PROGRESS", "WAITER_QUIET",
        "WAITER_LOG_FORMAT", "WAITER_LOG_LEVEL", "WAITER_API_KEY_FILE", "WAITER_BASE_URL", "WAITER_ALLOW_HTTP",
    }  # fmt: skip
    page = "".join(commands.wait().format_help().split())
    assert [name for name in named if f"[{name}" not in page] == []


def test_the_environment_fills_in() -> None:
    """What the command line leaves out is read from the environment, and what it says counts more."""
    environ = {"WAITER_TIMEOUT": "30m", "WAITER_QUIET": "yes", "WAITER_NO_LEARN": "0", "WAITER_OUTPUT": "ids"}
    args = parse("a", "-o", "env", **environ)
    assert (args.timeout, args.quiet, args.no_learn, args.output) == (1800.0, True, False, "env")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WAITER_TIMEOUT", "soon", "WAITER_TIMEOUT: not a duration: 'soon' (write 90, 90s, 30m, 1h30m or none)"),
        ("WAITER_OUTPUT", "xml", "WAITER_OUTPUT: 'xml' is none of text, json, ids, env, github"),
        ("WAITER_QUIET", "perhaps", "WAITER_QUIET: neither yes nor no: 'perhaps'"),
    ],
)
def test_a_mistake_in_the_environment(run: Run, name: str, value: str, said: str) -> None:
    """It is named by the variable that it stands in, and the page of help is still shown."""
    ran = run("wait", GOOD, env={name: value})
    assert (ran.code, ran.out, ran.err) == (2, "", f"waiter wait: {said}\ntry: waiter wait --help\n")
    assert run("wait", "--help").code == 0


@pytest.mark.parametrize(
    ("asked", "given"), [("--price=2", {"price": 2.0}), ("--interval=3", {"wait": 3.0}), ("-q", {"wait": 9.0})]
)
def test_what_is_asked_for_excludes_what_the_environment_says(asked: str, given: dict[str, float]) -> None:
    """A pace of the command line takes the place of another one of the environment."""
    options = waiter_options(commands.COMMANDS["wait"]().parse(["a", asked], {"WAITER_INTERVAL": "9s"}))
    assert {name: getattr(value, "wait_fixed", value) for name, value in options.items()} == given


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["wait", GOOD, "--tiemout", "5"], "waiter wait: unknown option --tiemout: did you mean --timeout?"),
        (["wait", GOOD, "--xyzzy"], "waiter wait: unknown option --xyzzy"),
        (["wait"], "waiter wait: the following arguments are required: TASK_ID"),
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
def test_mistakes_are_answered_with_the_right_word(run: Run, argv: list[str], said: str) -> None:
    """What is wrong, what may be meant, and where help is; nothing on standard output."""
    ran = run(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == said
    assert ran.err.splitlines()[1].startswith("try: waiter")


@pytest.mark.parametrize("argv", [["--api-key", "1234$secret"], ["--api-key=1234$secret"]])
def test_there_is_no_api_key_on_a_command_line(run: Run, argv: list[str]) -> None:
    """It says why, and does not repeat the key."""
    ran = run("wait", GOOD, *argv)
    assert ran.code == 2
    assert "there is no --api-key" in ran.err
    assert "secret" not in ran.err


def test_no_command(run: Run) -> None:
    """Without a command the page of help is what is wrong, so it goes to standard error."""
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("waiter tells you the moment")


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_shows_examples_first(run: Run, name: str) -> None:
    """The page of each command begins with what it does and how it is used."""
    ran = run(name, "--help", env={"COLUMNS": "80"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[2] == "examples:"
    assert ran.out.splitlines()[3].strip()
    assert f"usage: waiter {name}" in ran.out


def test_the_page_of_waiter(run: Run) -> None:
    """It names every command."""
    ran = run("--help", env={"COLUMNS": "80"})
    assert (ran.code, ran.err) == (0, "")
    assert [name for name in commands.COMMANDS if f"\n    {name}" not in ran.out] == []


def test_version(run: Run) -> None:
    """``--version`` says which."""
    assert run("--version") == (0, f"waiter {__version__}\n", "")


def test_the_command_after_two_dashes() -> None:
    """Everything after the first ``--`` is the command's, its own ``--`` too."""
    assert split_command(["wait", "a"]) == (["wait", "a"], None)
    assert split_command(["wait", "a", "--", "git", "log", "--", "x"]) == (["wait", "a"], ["git", "log", "--", "x"])


def test_the_arguments_of_the_library() -> None:
    """What is not given is left to the library, so that its defaults and its environment count."""
    assert waiter_options(parse("a")) == {}
    options = waiter_options(parse("a", "--timeout", "none", "--no-learn", "--price", "2", "--max-rps", "5", "--allow-http"))
    assert options == {"timeout": float("inf"), "learn": False, "price": 2.0, "max_rps": 5.0, "allow_http": True}
    files = waiter_options(parse("a", "--api-key-file", "key", "--base-url", "https://x", "--timeout", "0"))
    assert {name: str(value) for name, value in files.items()} == {"api_key": "key", "base_url": "https://x", "timeout": "0.0"}
    assert waiter_options(parse("a", "--interval", "2"))["wait"].wait_fixed == 2


def test_options_in_a_manual_have_groups() -> None:
    """A page made from a parser finds the arguments in their groups."""
    parser: Parser = commands.history()
    assert [title for title, _ in parser.groups()][:2] == ["positional arguments", "options"]
