"""`hlmat edit apply`, `split`, `merge`, `sample`: new runs from the rows of finished ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import columns, target_ref
from hlmat.export.runs.flags import Flag, FlagKind, flags_to_csv, read_flags
from hlmat.export.runs.manifest import read_manifest, verify
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.cli.exit_codes import EXIT_CONFIG, EXIT_DATA, EXIT_OK, EXIT_OUTPUT
from hlmat.pipelines.cli.main import main
from hlmat.pipelines.correction import derived_run
from hlmat.pipelines.correction.derived_run import SourceRun
from hlmat.pipelines.exporting.planning import plan_export
from hlmat.transforms.core.records import Reject, RejectReason, StopReason, Trajectory
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.masks.rle import encode_mask
from viewed_runs import SIZE_HW, clicked, damage, write_run

CONFIG = {"stop_at_score": None, "split_by": None, "annotations": None, "shapes": None}


def made(count: int, *, first: int = 0, per_image: int = 1) -> list[Trajectory]:
    """Build targets with IoUs of 0.5 and more, some of them in one image."""
    found = []
    for number in range(first, first + count):
        one = clicked(number, 10 + number % 10)
        ref = replace(one.target.ref, image_path=f"{number // per_image}.png")
        found.append(replace(one, target=replace(one.target, ref=ref)))
    return found


def reject(number: int) -> Reject:
    ref = target_ref(f"r{number}", image_path=f"{number}.png")
    return Reject(ref, RejectReason.EMPTY_MASK, "no pixel")


def run(out: Path, trajectories: Sequence[Trajectory], *rejects: Reject, **config: Any) -> Path:
    return write_run(out, trajectories, rejects, shards=2, config={**CONFIG, **config})


def ids(out: Path) -> list[str]:
    return [t.target.ref.target_id for t in read_trajectories(LocalStorage(), str(out))]


def rejected(out: Path) -> list[str]:
    return [r.ref.target_id for r in read_rejects(LocalStorage(), str(out))]


def images(out: Path) -> set[str]:
    return {t.target.ref.image_path for t in read_trajectories(LocalStorage(), str(out))}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def flag_file(path: Path, *flags: Flag) -> Path:
    path.write_bytes(flags_to_csv(flags))
    return path


DROP = Flag("d", "s", "t1", FlagKind.DROP, note="not a cup")
FIX = Flag("d", "s", "t2", FlagKind.FIX, "object 2", "the cup")


def test_apply_leaves_out_and_replaces_and_changes_nothing_in_place(tmp_path: Path) -> None:
    out = run(tmp_path / "run", made(4), reject(7))
    before = content(tmp_path)
    flags = [DROP, FIX, Flag("d", "s", "r7", FlagKind.DROP), Flag("d", "s", "t0", FlagKind.NOTE)]
    flag_file(tmp_path / "run-flags.csv", *flags)
    assert main(["edit", "apply", str(out), "--out", str(tmp_path / "new")]) == EXIT_OK
    new = list(read_trajectories(LocalStorage(), str(tmp_path / "new")))
    assert [t.target.ref.target_id for t in new] == ["t0", "t2", "t3"]
    assert [t.target.ref.expressions for t in new] == [("object 0",), ("the cup",), ("object 3",)]
    old = [t for t in read_trajectories(LocalStorage(), str(out)) if t.target.ref.target_id != "t1"]
    assert [t.steps for t in new] == [t.steps for t in old]
    assert rejected(tmp_path / "new") == []
    assert {n: d for n, d in content(tmp_path).items() if n in before} == before
    manifest = read_manifest(LocalStorage(), str(tmp_path / "new"))
    verify(LocalStorage(), str(tmp_path / "new"), manifest)
    applied = flags_to_csv(flags)
    assert (tmp_path / "new" / "flags.csv").read_bytes() == applied
    (step,) = manifest.config["derived"]
    assert step["by"] == "edit"
    assert step["flags_sha256"] == hashlib.sha256(applied).hexdigest()
    assert manifest.counts == {"targets": 3, "trajectories": 3, "rejects": 0}
    assert "| then | edit of run " in (tmp_path / "new" / "DATA_CARD.md").read_text()


def test_apply_again_is_done_and_other_flags_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path / "run", made(4))
    flags = flag_file(tmp_path / "f.csv", DROP)
    command = ["edit", "apply", str(out), "--flags", str(flags), "--out", str(tmp_path / "new")]
    assert main(command) == EXIT_OK
    before = content(tmp_path / "new")
    assert main(command) == EXIT_OK
    assert content(tmp_path / "new") == before
    flag_file(flags, FIX)
    assert main(command) == EXIT_OUTPUT
    assert "new holds a run with another configuration" in error(capsys)
    assert content(tmp_path / "new") == before
    assert main([*command, "--overwrite"]) == EXIT_OK
    assert ids(tmp_path / "new") == ["t0", "t1", "t2", "t3"]


def test_apply_refuses_what_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path / "run", made(2))
    new = ["--out", str(tmp_path / "new")]
    assert main(["edit", "apply", str(out), *new]) == EXIT_DATA
    assert "run-flags.csv: no such file; write flags with `hlmat edit`" in error(capsys)
    flags = flag_file(tmp_path / "run-flags.csv", Flag("d", "s", "t9", FlagKind.DROP))
    assert main(["edit", "apply", str(out), *new]) == EXIT_DATA
    assert "has no target 't9'" in error(capsys)
    flag_file(flags, *(Flag("d", "s", f"t{n}", FlagKind.DROP) for n in range(2)))
    assert main(["edit", "apply", str(out), *new]) == EXIT_DATA
    assert "drops every target" in error(capsys)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["run", "run/inside"])
def test_a_run_is_never_written_over(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path / "run", made(3))
    before = content(out)
    command = ["sample", str(out), "--count", "1", "--overwrite", "--out", str(tmp_path / place)]
    assert main(command) == EXIT_CONFIG
    assert "which is never changed; give another folder" in error(capsys)
    assert content(out) == before


def test_flags_are_added_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(tmp_path / "run", made(3))
    table = tmp_path / "mine.csv"
    table.write_text("target_id,flag,note\nt0,drop,bad\nt1,note,first\n")
    assert main(["edit", str(out), "--read", str(table), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == {
        "written": str(tmp_path / "run-flags.csv"),
        "drop": 1,
        "fix": 0,
        "note": 1,
    }
    table.write_text("target_id,flag,note\nt1,note,second\n")
    assert main(["edit", str(out), "--read", str(table), "--quiet"]) == EXIT_OK
    path = tmp_path / "run-flags.csv"
    assert read_flags(path.read_bytes(), name="f") == [
        Flag("d", "s", "t0", FlagKind.DROP, note="bad"),
        Flag("d", "s", "t1", FlagKind.NOTE, note="second"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "b"], "expected one run; write `hlmat edit OUT` or"),
        (["apply"], "expected one run"),
        (["apply", "a"], "--out is missing: name the folder of the corrected run"),
        (["a", "--out", "b"], "--out belongs to `hlmat edit apply OUT`"),
        (["apply", "a", "--out", "b", "--port", "1"], "--port belongs to the page"),
        (["apply", "a", "--out", "b", "--read", "c"], "--read c: apply reads --flags"),
    ],
)
def test_words_that_do_not_go_together_are_named(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["edit", *words]) == EXIT_CONFIG
    assert message in error(capsys)


def test_a_sample_has_whole_images_with_their_rejects(tmp_path: Path) -> None:
    out = run(tmp_path / "run", made(12, per_image=3), reject(0), reject(1), reject(99))
    for name in ("a", "b"):
        command = ["sample", str(out), "--count", "2", "--out", str(tmp_path / name)]
        assert main(command) == EXIT_OK
    assert content(tmp_path / "a") == content(tmp_path / "b")
    chosen = images(tmp_path / "a")
    assert len(chosen) == 2
    assert len(ids(tmp_path / "a")) == 6
    assert set(rejected(tmp_path / "a")) == {f"r{p[0]}" for p in chosen if p[0] in "01"}
    command = ["sample", str(out), "--count", "2", "--seed", "5", "--out", str(tmp_path / "c")]
    assert main(command) == EXIT_OK
    assert images(tmp_path / "c") != chosen


def test_a_sample_keeps_the_proportions_of_its_strata(tmp_path: Path) -> None:
    out = run(tmp_path / "run", made(40))
    flags = ["--share", "0.25", "--by", "target", "--stratify", "iou"]
    assert main(["sample", str(out), *flags, "--out", str(tmp_path / "new")]) == EXIT_OK
    found = [t.final_iou for t in read_trajectories(LocalStorage(), str(tmp_path / "new"))]
    # IoUs of 0.5 to 0.95 in steps of 0.05: two in each tenth, eight targets of forty.
    assert sorted(int(iou * 10) for iou in found) == [5, 5, 6, 6, 7, 7, 8, 8, 9, 9]


@pytest.mark.parametrize("stratum", ["stop", "clicks", "area"])
def test_strata_can_be_of_ends_clicks_and_areas(tmp_path: Path, stratum: str) -> None:
    # Three quarters of the targets differ from the rest in all of these.
    one = [clicked(number, 10, text="a") for number in range(24)]
    other = [clicked(number, 10, 12, stop_reason=StopReason.FINISHED) for number in range(24, 32)]
    large = encode_mask(columns(40, size_hw=SIZE_HW))  # 1,200 pixels, the others 600
    other = [replace(t, target=replace(t.target, truth=large)) for t in other]
    out = run(tmp_path / "run", [*one, *other])
    flags = ["--share", "0.25", "--by", "target", "--stratify", stratum]
    assert main(["sample", str(out), *flags, "--out", str(tmp_path / "new")]) == EXIT_OK
    chosen = [int(name[1:]) for name in ids(tmp_path / "new")]
    assert sum(number >= 24 for number in chosen) == 2
    assert len(chosen) == 8


def test_parts_share_no_image_and_have_everything(tmp_path: Path) -> None:
    out = run(tmp_path / "run", made(40, per_image=2), reject(3), reject(50))
    parts = tmp_path / "parts"
    assert main(["split", str(out), "--out", str(parts)]) == EXIT_OK
    names = ["test", "train", "val"]
    assert sorted(path.name for path in parts.iterdir()) == names
    assert {name: len(images(parts / name)) for name in names} == {"test": 2, "train": 16, "val": 2}
    assert sum(len(images(parts / n)) for n in names) == len(images(out))
    assert sorted(i for n in names for i in ids(parts / n)) == sorted(ids(out))
    assert sorted(i for n in names for i in rejected(parts / n)) == ["r3", "r50"]


def test_images_of_the_same_pixels_are_in_one_part(tmp_path: Path) -> None:
    same = [
        replace(t, target=replace(t.target, image_digest="0" * 64 if k < 20 else f"{k:064}"))
        for k, t in enumerate(made(40))
    ]
    out = run(tmp_path / "run", same)
    command = ["split", str(out), "--parts", "a=0.5,b=0.5", "--out", str(tmp_path / "parts")]
    assert main(command) == EXIT_OK
    copies = set(ids(out)[:20])
    assert sum(bool(copies & set(ids(tmp_path / "parts" / n))) for n in "ab") == 1


def test_parts_are_merged_to_the_run_that_they_came_from(tmp_path: Path) -> None:
    out = run(tmp_path / "run", made(30, per_image=3), reject(2))
    main(["split", str(out), "--out", str(tmp_path / "parts")])
    parts = [str(tmp_path / "parts" / name) for name in ("train", "val", "test")]
    assert main(["merge", *parts, "--out", str(tmp_path / "new")]) == EXIT_OK
    assert sorted(ids(tmp_path / "new")) == sorted(ids(out))
    assert rejected(tmp_path / "new") == ["r2"]
    (step,) = read_manifest(LocalStorage(), str(tmp_path / "new")).config["derived"]
    assert [steps[0]["part"] for steps in step["steps"]] == ["train", "val", "test"]


def test_merging_puts_the_targets_of_an_image_together(tmp_path: Path) -> None:
    every = made(6, per_image=3)
    first = run(tmp_path / "first", [every[0], every[3]], limit=2)
    second = run(tmp_path / "second", [every[1], every[2], every[4]], limit=3)
    command = ["merge", str(first), str(second), "--out", str(tmp_path / "new")]
    assert main(command) == EXIT_OK
    assert ids(tmp_path / "new") == ["t0", "t1", "t2", "t3", "t4"]
    assert read_manifest(LocalStorage(), str(tmp_path / "new")).config["limit"] is None


def test_a_target_of_two_runs_is_refused_or_taken_from_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path / "first", made(2), limit=2)
    second = run(tmp_path / "second", made(2, first=1))
    command = ["merge", str(first), str(second), "--out", str(tmp_path / "new")]
    assert main(command) == EXIT_DATA
    assert "target 't1' (d, s) is in " in error(capsys)
    assert main([*command, "--keep-first"]) == EXIT_OK
    assert ids(tmp_path / "new") == ["t0", "t1", "t2"]


def test_runs_of_other_settings_are_not_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path / "first", made(1))
    second = run(tmp_path / "second", made(1, first=1), max_clicks=7, policy="centre")
    assert main(["merge", str(first), str(second), "--out", str(tmp_path / "new")]) == EXIT_CONFIG
    message = error(capsys)
    assert f"{second}: its max_clicks is 7, expected 3 as in {first}" in message
    assert 'its policy is "centre", expected "oracle"' in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["sample", "RUN", "--out", "x"], "give either --count or --share"),
        (["sample", "RUN", "--count", "9", "--out", "x"], "has 3 images; give at most that many"),
        (["sample", "RUN", "--count", "1"], "--out is missing: name the folder of the sample"),
        (["sample", "RUN", "--share", "1", "--stratify", "colour", "--out", "x"], "--stratify"),
        (["split", "RUN", "--out", "x"], "would have no target"),
        (["split", "RUN", "--parts", "a=0.5,b=0.4", "--out", "x"], "add up to 0.9, expected 1"),
        (["split", "RUN", "--parts", "../a=1", "--out", "x"], "expected NAME=SHARE"),
        (["split", "RUN", "--parts", "a=0.5,a=0.5", "--out", "x"], "a is named twice"),
        (["merge", "RUN", "--out", "x"], "there is nothing to merge; name another run"),
        (["merge", "RUN", "RUN", "--out", "x"], "is named twice; give different runs"),
    ],
)
def test_a_wrong_request_is_named_and_writes_nothing(
    command: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = run(tmp_path / "run", made(3))
    monkeypatch.chdir(tmp_path)
    assert main([str(out) if word == "RUN" else word for word in command]) == EXIT_CONFIG
    assert message in error(capsys)
    assert not (tmp_path / "x").exists()


def test_a_damaged_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = damage(run(tmp_path / "run", made(3)), num_clicks=7)
    command = ["sample", str(out), "--share", "1", "--out", str(tmp_path / "new")]
    assert main(command) == EXIT_DATA
    assert "is not the file that the manifest lists" in error(capsys)


def test_a_large_run_is_written_in_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run(tmp_path / "run", made(5))
    monkeypatch.setattr(derived_run, "ROWS_PER_FILE", 2)
    command = ["sample", str(out), "--share", "1", "--out", str(tmp_path / "new")]
    assert main(command) == EXIT_OK
    assert ids(tmp_path / "new") == ids(out)
    names = [path.name for path in sorted((tmp_path / "new" / "trajectories").iterdir())]
    assert names == [f"trajectories-0000{k}-of-00003.parquet" for k in range(3)]


def test_other_commands_read_a_derived_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path / "run", made(6), reject(2))
    new = str(tmp_path / "new")
    main(["sample", str(out), "--count", "3", "--out", new, "--quiet"])
    assert main(["stats", new, "--verify", "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["trajectories"] == 3
    trace = str(tmp_path / "trace.json")
    assert main(["export", "--from", new, "--format", "trace", "--out", trace]) == EXIT_OK
    assert main(["inspect", new]) == EXIT_OK
    assert main(["rejects", new]) in (EXIT_OK, 6)
    page = str(tmp_path / "page")
    assert main(["view", new, "--save", page, "--data-root", str(tmp_path), "-q"]) == EXIT_OK


def test_an_export_leaves_flagged_targets_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path / "run", made(4), reject(7))
    flags = flag_file(tmp_path / "f.csv", DROP, FIX, Flag("d", "s", "r7", FlagKind.DROP))
    trace = tmp_path / "trace.json"
    command = ["export", "--from", str(out), "--format", "trace", "--exclude", str(flags)]
    assert main([*command, "--out", str(trace), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["records"] == 3
    flag_file(flags, *(Flag("d", "s", f"t{n}", FlagKind.DROP) for n in range(4)))
    assert main([*command, "--out", str(tmp_path / "none.json")]) == EXIT_DATA
    assert "drops every target" in error(capsys)


def test_the_plan_of_a_training_set_leaves_flagged_targets_out(tmp_path: Path) -> None:
    out = run(tmp_path / "run", made(6, per_image=2))
    files = SourceRun.open(str(out)).trajectories
    for seed in (None, 0):
        plan = plan_export(
            files,
            (),
            unit_size=2,
            fingerprint="f",
            shapes=None,
            shuffle_seed=seed,
            excluded=[("d", "s", "t1"), ("d", "s", "t4"), ("d", "s", "t5")],
        )
        assert [unit.targets for unit in plan.units] == [3]
        assert len(plan.images) == 2
