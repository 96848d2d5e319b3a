"""Set up the development environment: ``python third_party/install.py VENV [--lowest]``.

``make`` runs this; it needs only a Python with venv.

* A torch that the environment already has (a CUDA build, say) is kept, with its torchvision.
* Otherwise the CPU build is installed and no other: a CUDA build of gigabytes is never fetched.
* learn2learn is built by ``third_party/learn2learn``, once.
* ``--lowest`` installs the lowest releases that ``pyproject.toml`` allows, not the pinned ones.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NO_CPU_BUILD = """
install: pip found no CPU build of torch.
  Tell pip where to look, then run the same command again. PyTorch's installation page names an
  index of CPU builds (export PIP_EXTRA_INDEX_URL=<that index>); or put a wheel into a folder
  (export PIP_FIND_LINKS=<folder>).
  To use your own torch (CUDA, say), install it into a virtual environment and call
  make VENV=<its folder>."""

Pins = dict[str, str]
"""Name of a distribution -> its release."""


def python_of(venv: Path) -> Path:
    """Return the interpreter of a virtual environment, which is created if it does not exist."""
    python = venv / "bin" / "python"
    if not python.exists():
        if sys.version_info < (3, 11):  # noqa: UP036  # this file runs before anything is installed
            raise SystemExit(
                "install: Python 3.11 or newer is needed, but this is "
                f"{platform.python_version()}; call make PYTHON=python3.11 ..."
            )
        print(f"install: creating {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    return python


def installed(python: Path, name: str) -> str | None:
    """Return the version of a distribution in an environment, None if it is not installed."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    ended = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else None


def tested() -> Pins:
    """Return the set of releases that was tested together."""
    pins = {}
    for line in (HERE / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[name] = version
    return pins


def lowest() -> Pins:
    """Return the lowest release of each requirement that ``pyproject.toml`` allows."""
    import tomllib  # here, so that an older Python gets as far as the message in python_of

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {}
    for requirement in [*project["dependencies"], *extras["meta"], *extras["test"]]:
        name, version = re.fullmatch(r"([\w-]+)>=([\w.]+)", requirement).groups()
        pins[name] = version
    return pins


def constraints(python: Path, pins: Pins | None = None) -> list[str]:
    """Return lines for ``pip --constraint``: the pins, adapted to a torch that is already there."""
    pins = dict(pins or tested())
    own = installed(python, "torch")
    if own is not None:
        print(f"install: keeping torch {own}", file=sys.stderr)
        release = own.partition("+")[0]
        vision = installed(python, "torchvision")
        if vision is not None:
            pins["torchvision"] = vision
        elif release != pins["torch"]:
            del pins["torchvision"]  # pip chooses the one that fits
        pins["torch"] = own
    elif platform.system() == "Linux" and platform.machine() == "x86_64":
        # Only the local version distinguishes the CPU build of a release from its CUDA build.
        pins["torch"] += "+cpu"
    return [f"{name}=={version}" for name, version in pins.items()]


def pip_install(python: Path, lines: list[str], *targets: str) -> int:
    """Install targets within constraints and return pip's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "constraints.txt"
        file.write_text("\n".join(lines) + "\n")
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        return subprocess.run([*pip, "-c", str(file), *targets], check=False).returncode


def main(venv: Path, *, use_lowest: bool = False) -> None:
    """Install the package, its tools and learn2learn into ``venv``."""
    start = time.monotonic()
    python = python_of(venv)
    pins = lowest() if use_lowest else tested()
    targets = ["-e", f"{ROOT}[test,meta]" if use_lowest else f"{ROOT}[dev,meta]"]
    if installed(python, "learn2learn") is None:
        targets.insert(0, str(HERE / "learn2learn"))
    print("install: fetching packages (about 1.3 GB installed), a minute or two", file=sys.stderr)
    if pip_install(python, constraints(python, pins), *targets) != 0:
        no_torch = installed(python, "torch") is None
        raise SystemExit(NO_CPU_BUILD if no_torch else "install: pip failed, see above")
    print(f"install: finished in {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Set up the development environment.")
    parser.add_argument("venv", type=Path, nargs="?", default=Path(".venv"))
    parser.add_argument("--lowest", action="store_true", help="the lowest allowed releases")
    options = parser.parse_args()
    main(options.venv, use_lowest=options.lowest)
