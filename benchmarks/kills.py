"""Killed commands against undisturbed ones: the same command again must end with the same files.

    python -m benchmarks.kills --trials 40

A trial kills a command with SIGKILL, up to three times, each at a random access to a file of its
output, and then lets the same command end. Every file of its folder is compared with that of an
undisturbed run, apart from the time per click, which a report holds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_RUN = (
    *("--dataset", "shapes", "--shapes-images", "6", "--shapes-size", "64x80", "--split", "val"),
    *("--unit-size", "2", "--output-shards", "2", "--workers", "1", "--max-clicks", "2", "-q"),
)
_REPORTS = (".json", ".md")
# Forks a process for each command, so that none has to import anything; one that is to be killed
# at the N-th access to a file of its output does so itself. N = 0 is never.
_FORKS = """\
import json, os, signal, sys
from hlmat.pipelines.cli.main import main
import hlmat.pipelines.evaluation.evaluate, hlmat.pipelines.evaluation.stats
import hlmat.pipelines.exporting.export, hlmat.pipelines.run.trajectories
import hlmat.transforms.segmenters.graphcut.segmenter
for line in sys.stdin:
    kill_at, out, argv = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.dup2(2, 1)
    seen = 0
    def count(event, arguments):
        global seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            if any(isinstance(a, str) and a.startswith(out) for a in arguments):
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    code = main([*argv, "--out", out])
    with open(out + ".accesses", "w") as f:
        f.write(str(seen))
    os._exit(code)
"""


class Commands:
    """Runs commands one at a time in processes of their own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, out: Path, argv: Sequence[str], *, kill_at: int = 0) -> int:
        """Run a command; return its exit code, or minus the signal that ended it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([kill_at, str(out), [*argv]]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def finish(self, out: Path, argv: Sequence[str]) -> int:
        """Run a command to its end; return how often it accessed files of its output.

        Raises:
            SystemExit: it failed.
        """
        if (code := self.run(out, argv)) != 0:
            raise SystemExit(f"{' '.join(argv)} ended with {code}")
        accesses = Path(f"{out}.accesses")
        count = int(accesses.read_text(encoding="ascii"))
        accesses.unlink()
        return count

    def close(self) -> None:
        """End the process that forks."""
        self._server.communicate()


def files_in(folder: Path) -> Mapping[str, bytes]:
    """Return every file of a folder and of those next to it with a similar name."""
    beside = [
        path
        for path in folder.parent.iterdir()
        if folder.name in path.name and path.suffix != ".accesses"
    ]
    files = [path for each in beside for path in [each, *each.rglob("*")] if path.is_file()]
    return {
        str(path.relative_to(folder.parent)).replace(folder.name, "OUT", 1): _untimed(path)
        for path in files
    }


def _is_exported(out: Path) -> bool:
    return (out / "dataset_info.json").is_file()


def _untimed(path: Path) -> bytes:
    """Return a file without the lines of a report on the time per click."""
    lines = path.read_bytes().splitlines(keepends=True)
    is_report = path.suffix in _REPORTS
    return b"".join(
        line
        for line in lines
        if not (is_report and (b"SPC" in line or b"seconds per click" in line))
    )


def trials(commands: Commands, argv: Sequence[str], *, root: Path, count: int, seed: int) -> str:
    """Kill a command again and again; return a line on how that went.

    Raises:
        SystemExit: it failed after a kill.
    """
    rng = random.Random(f"{seed} {argv[0]}")
    commands.finish(root / "warm", argv)
    accesses = commands.finish(root / "whole", argv)
    whole = files_in(root / "whole")
    is_export = argv[0] == "export"
    kills = same = 0
    for number in range(count):
        out = root / f"t{number:04d}"
        for _ in range(rng.randint(1, 3)):
            code = commands.run(out, argv, kill_at=rng.randint(1, accesses))
            kills += code == -signal.SIGKILL
            if code not in (0, -signal.SIGKILL):
                raise SystemExit(f"{argv[0]} ended with {code} after a kill; see {out}")
            if code == 0 or (is_export and _is_exported(out)):
                break
        # A finished export is not made again.
        if not (is_export and _is_exported(out)):
            commands.finish(out, argv)
        found = files_in(out)
        same += found == whole
        for name in sorted({*found, *whole}):
            if found.get(name) != whole.get(name):
                print(f"{out}: {name} differs", file=sys.stderr)
    return (
        f"{argv[0]}: {count} trials, {kills} kills, {same} folders identical "
        f"({len(whole)} files, {accesses} accesses)"
    )


def main() -> None:
    """Try every command and print a line about each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", help="one command: trajectories, evaluate or export")
    arguments = parser.parse_args()
    commands = Commands()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = root / "source"
        commands.finish(source, ["trajectories", *_RUN])
        for argv in (
            ["trajectories", *_RUN],
            ["evaluate", "--policy", "oracle", *_RUN],
            ["export", "--from", str(source), "--format", "llama-factory", "-q"],
        ):
            if arguments.only not in (None, argv[0]):
                continue
            place = root / argv[0]
            os.mkdir(place)
            line = trials(commands, argv, root=place, count=arguments.trials, seed=arguments.seed)
            print(line, flush=True)
    commands.close()


if __name__ == "__main__":
    main()
