"""One round on a machine with a GPU that is lent for minutes: tests, then trainings worth having.

At home, cut the data into parts that are carried one by one, each in a folder of its own. With the
repository's 39 MB, a part of 25 MB fits into a limit of 64 MiB:

    python tests/benchmarks/gpu_round.py split DATA parts --megabytes 25

On the machine, once a part; the last one unpacks them all. Then the round itself:

    python tests/benchmarks/gpu_round.py join parts/01 DATA
    python tests/benchmarks/gpu_round.py run --data DATA --out OUT --minutes 9

OUT gets the store in parts below 15 MB, the log of each step, and round.txt. Back at home:

    python tests/benchmarks/gpu_round.py fetch OUT results/runs

DATA has CIFAR-10 and CIFAR-FS in a form that the harness reads (`harness data list`). Python
packages that a machine without network lacks travel as wheels; `run` names what is missing.

The steps, in order: the CUDA tests; on all of CIFAR-10 SoftHebb's three layers and a small residual
network, plain and adversarially trained at 8/255; a ResNet-12 prototypical network on CIFAR-FS. A
step starts if the time left covers what it needs, and is stopped where the time ends. Steps that
were not run are named at the end. Cells are those of the suites that the steps name, some with
shorter trainings (`steps`).

`--device cpu --tiny` runs the same steps with next to no training, to try the script itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]

MEGABYTE = 10**6
CARRIED_MB = 25.0
RETURNED_MB = 15.0
"""Largest parts on the way there and back."""

PACKING_S = 20.0
"""Seconds kept at the end, to pack the store."""

NEEDED = ("torch", "torchvision", "torchattacks", "pydantic", "typer", "safetensors", "cloudpickle")
"""Packages that a machine made for other work may lack."""


@dataclass(frozen=True)
class Step:
    """One thing to run.

    Attributes:
        name: Of the step.
        needs_s: Seconds that it takes on a large GPU, estimated, not measured.
        most_s: Seconds after which it is stopped.
        command: Its arguments after ``python``.
    """

    name: str
    needs_s: float
    most_s: float
    command: list[str]


def suite(path: str, protocols: Sequence[str], learners: str, *keys: str) -> list[str]:
    """`harness run` for some learners of a suite, whose other keys are overridden."""
    sets = [*(f"protocols.{each}.learners=[{learners}]" for each in protocols), *keys]
    return ["-m", "harness", "run", path, *(part for key in sets for part in ("--set", key))]


def steps(device: str, *, tiny: bool) -> list[Step]:
    """The round, in order."""
    large, bodies = "suites/families/cifar-10-large.yaml", "suites/families/cifar-10-bodies.yaml"
    shorter = ["published=[]", "learners.softhebb.readout_epochs=20"]
    trained = ["defaults.learners.cnn.epochs=12"]
    few = ["learners.resnet12.body={name: resnet12, drop: 0.1, widths: [64, 128, 256, 512]}"]
    tests = ["tests/execute/test_cuda.py", "tests/learning/test_learner_contract.py"]
    if tiny:
        first = "{kind: digits}"
        shorter = [
            "published=[]",
            f"protocols.clean.dataset={first}",
            "learners.softhebb.layers=[{channels: 4, kernel: 3, pool_size: 2, stride: 2}]",
            "learners.softhebb.readout_epochs=1",
        ]
        trained = ["defaults.learners.cnn.epochs=1", "protocols.robust.images=20"]
        trained += [f"protocols.{each}.dataset={first}" for each in ("clean", "robust", "weights")]
        trained += ["protocols.robust.attacks=[{attack: fgsm, eps: [0, 0.03]}]"]
        few = ["learners.resnet12.body={name: resnet12, widths: [4, 4, 4, 4]}"]
        few += ["learners.resnet12.episodes=1", "protocols.few.episodes=20"]
        few += ["protocols.few.dataset={kind: glyphs}"]
        tests = tests[:1]
    measured = ("clean", "robust", "weights")
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return [
        Step("CUDA tests" if device != "cpu" else "tests", 120, 180, pytest),
        Step("SoftHebb", 150, 240, suite(large, ["clean"], "softhebb", *shorter)),
        Step("ResNet-8", 70, 120, suite(bodies, measured, "resnet8", *trained)),
        Step("ResNet-8 at 8/255", 150, 240, suite(bodies, measured, "resnet8-adv", *trained)),
        Step("ResNet-12", 80, 150, suite("suites/resnet12.yaml", ["few"], "resnet12", *few)),
    ]


Run = Callable[[Step, float], str]
"""Runs a step for so many seconds at most; how it ended, in words."""


def follow(
    planned: Sequence[Step],
    run: Run,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[Step, str]]:
    """Run what fits into the time, in order; a step that does not fit is passed over.

    Yields:
        Each step and how it ended, or that it was left.
    """
    end = clock() + seconds - PACKING_S
    for step in planned:
        left = end - clock()
        if left < step.needs_s:
            yield step, f"left: needs about {step.needs_s:.0f} s of {max(left, 0):.0f} s"
            continue
        yield step, run(step, min(step.most_s, left))


def runner(store: Path, out: Path, data: Path | None, device: str) -> Run:
    """Runs a step as a process, its output in a file of ``out``."""

    def run(step: Step, most_s: float) -> str:
        command = [sys.executable, *step.command]
        if "harness" in step.command:
            command += ["--store", str(store), "--device", device, "--workers", "1"]
            command += ["--out", str(store.parent / "tables")]
            command += ["--data-root", str(data)] if data else []
        environment = {**os.environ, "HARNESS_TEST_DEVICE": device, "PYTHONPATH": str(ROOT)}
        log = out / f"{step.name.replace(' ', '-').replace('/', '-')}.txt"
        start = time.monotonic()
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(most_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its workers too
                process.wait()
                return f"stopped after {most_s:.0f} s"
        ended = "done" if code == 0 else f"failed with code {code}, see {log.name}"
        return f"{ended} in {time.monotonic() - start:.0f} s"

    return run


# ------------------------------------------------------------------------- files there and back


def split(folder: Path, parts: Path, megabytes: float, *, apart: bool = False) -> list[Path]:
    """Write a folder as an archive, in numbered parts. Links are followed.

    Args:
        folder: What is archived.
        parts: Where the parts are written.
        megabytes: Size of a part, at most.
        apart: Put each part into a folder of its own.
    """
    most = int(megabytes * MEGABYTE)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
        tar.add(folder, arcname=".")
    data = archive.getbuffer()
    count = -(-len(data) // most)
    paths = []
    for i in range(count):
        place = parts / f"{i + 1:02}" if apart else parts
        place.mkdir(parents=True, exist_ok=True)
        paths.append(place / f"part-{i + 1:02}-of-{count:02}")
        paths[-1].write_bytes(data[i * most : (i + 1) * most])
    return paths


def join(parts: Path, folder: Path) -> int:
    """Take the parts that are there, and unpack them once all have come.

    Returns:
        How many are still to come.
    """
    kept = folder / ".parts"
    kept.mkdir(parents=True, exist_ok=True)
    for part in parts.glob("part-*-of-*"):
        (kept / part.name).write_bytes(part.read_bytes())
    here = sorted(kept.glob("part-*-of-*"))
    if not here:
        raise SystemExit(f"{parts} has no part-NN-of-NN: make them with `split`")
    missing = int(here[0].name.rpartition("-")[2]) - len(here)
    if not missing:
        archive = io.BytesIO(b"".join(part.read_bytes() for part in here))
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(
                folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
            )
        for part in here:
            part.unlink()
        kept.rmdir()
    return missing


def imported(source: Store, target: Store) -> int:
    """Copy the finished cells that the other store lacks, every file verified; their number."""
    target.prepare()
    copied = 0
    for key in source.finished():
        if not target.done(key):
            target.files.install(f"cells/{key}", source.content(key))
            copied += 1
    return copied


# ------------------------------------------------------------------------------------ commands


def run_round(options: argparse.Namespace) -> None:
    """The verb ``run``."""
    start = time.monotonic()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"packages are missing: {', '.join(missing)}")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        run = runner(store, out, options.data, options.device)
        planned = steps(options.device, tiny=options.tiny)
        seconds = options.minutes * 60 - (time.monotonic() - start)
        for step, ended in follow(planned, run, seconds):
            lines.append(f"{step.name}: {ended}")
            print(lines[-1], flush=True)
        if store.is_dir():
            for part in split(store, out, RETURNED_MB):
                lines.append(f"{part.name}: {part.stat().st_size} bytes")
    (out / "round.txt").write_text("\n".join(lines) + "\n")


def fetch(parts: Path, store: str) -> None:
    """The verb ``fetch``."""
    with tempfile.TemporaryDirectory() as folder:
        missing = join(parts, Path(folder))
        if missing:
            raise SystemExit(f"{missing} parts are missing in {parts}")
        print(f"{imported(Store(folder), Store(store))} cells imported into {store}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="One round on a GPU.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    paths = {}
    for verb, first, second in (
        ("split", "folder", "parts"),
        ("join", "parts", "folder"),
        ("fetch", "parts", "store"),
    ):
        paths[verb] = verbs.add_parser(verb)
        paths[verb].add_argument(first, type=Path)
        paths[verb].add_argument(second, type=Path)
    paths["split"].add_argument("--megabytes", type=float, default=CARRIED_MB)
    run = verbs.add_parser("run")
    run.add_argument("--data", type=Path, help="folder of the datasets")
    run.add_argument("--out", required=True, help="folder for what comes back")
    run.add_argument("--minutes", type=float, default=9.0, help="time for everything")
    run.add_argument("--device", default="cuda")
    run.add_argument("--tiny", action="store_true", help="next to no training")
    options = parser.parse_args(arguments)
    if options.verb == "run":
        run_round(options)
    elif options.verb == "split":
        written = split(options.folder, options.parts, options.megabytes, apart=True)
        print(*written, sep="\n")
    elif options.verb == "join":
        print(f"{join(options.parts, options.folder)} parts to come")
    else:
        fetch(options.parts, str(options.store))


if __name__ == "__main__":
    main()
