"""The command `hlmat`: dispatch, messages, exit codes.

Before the arguments are parsed, only the chosen command's declarations are imported.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence

from hlmat.pipelines.cli.commands import COMMANDS, list_commands
from hlmat.pipelines.cli.exit_codes import (
    EXIT_BUG,
    EXIT_CODES,
    EXIT_CONFIG,
    EXIT_DATA,
    EXIT_INCOMPLETE,
    EXIT_OK,
    EXIT_OUTPUT,
    fail,
)
from hlmat.pipelines.cli.interrupts import Interrupts, leave
from hlmat.pipelines.cli.machine_faults import machine_fault
from hlmat.transforms.core.visible_text import visible_output


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the command and its flags. None takes those of the process, which the command then
            owns: Ctrl-C is handled, and no thread keeps running after a failure.
    """
    interrupts = Interrupts()
    if argv is not None:
        return _run(list(argv), interrupts)
    interrupts.install()
    code = _run(sys.argv[1:], interrupts)
    if code != EXIT_OK and threading.active_count() > 1:
        # Python would wait for what other threads still work on.
        leave(code)
    # Before it ends, Python would search all that was imported for cycles: half a second.
    gc.freeze()
    return code


def _run(arguments: list[str], interrupts: Interrupts) -> int:
    # Names, expressions and texts of models may hold what commands a terminal.
    with visible_output():
        return _run_visibly(arguments, interrupts)


def _run_visibly(arguments: list[str], interrupts: Interrupts) -> int:
    # Threads that spin while waiting starve each other on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_libraries_quiet(verbose="-v" in arguments or "--verbose" in arguments)
    from hlmat.transforms.core.errors import (
        ConfigError,
        DataError,
        HlmatError,
        IncompleteError,
        OutputError,
    )

    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        return fail(error.problems, EXIT_CONFIG)
    except DataError as error:
        return fail([str(error)], EXIT_DATA)
    except IncompleteError as error:
        return fail([str(error)], EXIT_INCOMPLETE)
    except OutputError as error:
        return fail([str(error)], EXIT_OUTPUT)
    except HlmatError as error:
        return fail([str(error)], EXIT_BUG)
    except KeyboardInterrupt:
        return interrupts.report()
    except BrokenPipeError:
        # The reader of our output is gone (`| head`).
        _drop_output()
        return EXIT_OK
    except Exception as error:
        if interrupts.seen:
            return interrupts.report()
        if (fault := machine_fault(error)) is not None:
            if isinstance(error, OSError) and error.filename is None:
                _drop_output()
            return fail([fault.sentence], fault.exit_code)
        traceback.print_exc()
        return fail(["this is a bug: please report it with the lines above"], EXIT_BUG)


def _drop_output() -> None:
    """Keep Python from retrying a failed write when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview())
        return EXIT_OK if argv else EXIT_CONFIG
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("hlmat"))
        return EXIT_OK
    from hlmat.pipelines.settings.validation import ArgumentParser
    from hlmat.transforms.core.errors import ConfigError
    from hlmat.transforms.core.suggestions import did_you_mean

    name = argv[0]
    if name not in COMMANDS:
        raise ConfigError(
            [f"unknown command {name!r}; {did_you_mean(name, COMMANDS)}see hlmat --help"]
        )
    parser = _build_parser(name, ArgumentParser)
    arguments, rest = parser.parse_known_args(argv[1:])
    if getattr(arguments, "recipe", None) is not None:
        from hlmat.pipelines.settings.commands import refuse_mistakes

        # Reading a recipe imports numerical libraries, so report simple mistakes first.
        refuse_mistakes(name, arguments, rest)
        from hlmat.pipelines.recipes.recipe import with_recipe_flags

        arguments, rest = parser.parse_known_args(with_recipe_flags(argv)[1:])
    arguments.command = name
    return COMMANDS[name].run(arguments, rest)


def _overview() -> str:
    return (
        "usage: hlmat COMMAND [flags]\n\n"
        "Data engine for human-like mask annotation: from segmentation data sets to click "
        f"trajectories.\n\n{list_commands()}\n"
        "hlmat COMMAND --help lists a command's flags, with examples; hlmat --version prints the "
        f"version.\n\n{EXIT_CODES}"
    )


def _build_parser(
    name: str, parser_class: type[argparse.ArgumentParser]
) -> argparse.ArgumentParser:
    from hlmat.pipelines.settings.commands import add_command_flags, positional_usage

    command = COMMANDS[name]
    choices = ""
    if name == "trajectories":
        from hlmat.pipelines.settings.run_flags import describe_choices

        choices = describe_choices()
    parser = parser_class(
        prog=f"hlmat {name}",
        usage=f"hlmat {name} {positional_usage(name)}[flags]",
        description=command.summary[0].upper() + command.summary[1:] + ".",
        epilog=command.examples + choices + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_command_flags(parser, name)
    output = parser.add_argument_group("what is printed")
    output.add_argument("--json", action="store_true", help="print JSON, for machines")
    volume = output.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no remarks")
    volume.add_argument("-v", "--verbose", action="store_true", help="show the libraries' logs too")
    return parser


def _keep_libraries_quiet(*, verbose: bool) -> None:
    """Silence Beam's warnings about unused features and what gRPC logs; `--verbose` shows them."""
    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    # gRPC writes its log to stderr itself, for example when an interrupted run closes a channel.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


if __name__ == "__main__":
    sys.exit(main())
