"""Make the environment: python third_party/install.py VENV. Run by ``make``; needs nothing but a Python with venv.

* A torch that the environment already has (a CUDA build, say) is kept, with the torchvision beside it.
* Otherwise the CPU build is installed, and only that: a CUDA build of several gigabytes is never fetched.
* learn2learn is built by third_party/learn2learn, once.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CPU_INDEX_HELP = """
install: no CPU build of torch was found by pip.
  Tell pip where to look, then run the same command again: PyTorch's installation page names an index for CPU builds
  (export PIP_EXTRA_INDEX_URL=<that index>), or put a wheel in a folder (export PIP_FIND_LINKS=<folder>).
  To use a torch of your own (CUDA, say): install it into a virtual environment and call make VENV=<its folder>."""


def python_of(venv: Path) -> Path:
    """The interpreter of a virtual environment, made if it is not there."""
    python = venv / "bin" / "python"
    if not python.exists():
        if sys.version_info < (3, 11):
            raise SystemExit(
                f"install: Python 3.11 or newer is needed, this is {platform.python_version()}; "
                "call make PYTHON=python3.11 ..."
            )
        print(f"install: making {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    return python


def installed(python: Path, name: str) -> str | None:
    """Version of a distribution in an environment, or None."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def constraints(python: Path) -> list[str]:
    """The tested versions, but for what must give way to a torch that is already there."""
    lines = [
        line
        for line in (HERE / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    pins = dict(line.split("==") for line in lines)
    torch = installed(python, "torch")
    if torch is not None:
        print(f"install: keeping torch {torch}", file=sys.stderr)
        pins["torch"] = torch
        if vision := installed(python, "torchvision"):
            pins["torchvision"] = vision
        elif torch.partition("+")[0] != "2.13.0":
            del pins["torchvision"]
    elif platform.system() == "Linux" and platform.machine() == "x86_64":
        pins["torch"] += (
            "+cpu"  # the local version is what tells the CPU build from the CUDA build of the same release
        )
    return [f"{name}=={version}" for name, version in pins.items()]


def main(venv: Path) -> None:
    """Install everything into ``venv``."""
    start, python = time.monotonic(), python_of(venv)
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "constraints.txt"
        pins.write_text("\n".join(constraints(python)) + "\n")
        pip = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-c",
            str(pins),
        ]
        learn2learn = [] if installed(python, "learn2learn") else [str(HERE / "learn2learn")]
        print(
            "install: fetching packages, about 1.3 GB installed, a minute or two", file=sys.stderr
        )
        done = subprocess.run([*pip, *learn2learn, "-e", f"{ROOT}[dev,meta]"], check=False)
    if done.returncode:
        raise SystemExit(
            CPU_INDEX_HELP
            if installed(python, "torch") is None
            else "install: pip failed, see above"
        )
    print(f"install: done in {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".venv"))
