"""PEP 517 backend that builds learn2learn 0.2.0 from its own source distribution.

Two things stand between that sdist and a current Python: its shipped C files do not compile on 3.11+, so they are
generated again with Cython 3; and it lists packages that the parts used here never import, so the list is trimmed.
Nothing of learn2learn's own code is changed or kept in this repository.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from setuptools import build_meta

VERSION = "0.2.0"
SDIST_SHA256 = "69f1d7cb0d0a6be7a2c6ad8e83e2ebbe70fb05e51d61e45e63078b40c75ea419"
REQUIRES = ["numpy", "torch", "torchvision", "scipy", "requests", "tqdm", "gym>=0.26"]


def _download(folder: Path) -> Path:
    # pip hands its hook variables down; the inner pip drives another backend and must not see them.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("_PYPROJECT_HOOKS_", "PEP517_"))}
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation", "--use-pep517",
               "--no-binary", "learn2learn", "-d", str(folder), f"learn2learn=={VERSION}"]
    subprocess.run(command, check=True, env=env)
    sdist = folder / f"learn2learn-{VERSION}.tar.gz"
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SDIST_SHA256:
        raise SystemExit(f"learn2learn {VERSION}: sha256 of the downloaded sdist is {found}, expected {SDIST_SHA256}")
    return sdist


def _patched_source() -> Path:
    folder = Path(tempfile.mkdtemp())
    with tarfile.open(_download(folder)) as archive:
        # Its hash is known, so the filter is a second look; Python has it since 3.11.4.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = folder / f"learn2learn-{VERSION}"
    setup = (source / "setup.py").read_text()
    setup = re.sub(r"install_requires=\[.*?\]", f"install_requires={REQUIRES!r}", setup, flags=re.S)
    (source / "setup.py").write_text(re.sub(r"setup_requires=\[.*?\],", "", setup))
    return source


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """The one PEP 517 hook pip needs: build the wheel, return its file name."""
    wheel_directory = os.path.abspath(wheel_directory)
    os.chdir(_patched_source())
    return build_meta.build_wheel(wheel_directory, {"--global-option": "build_ext"})


def build_sdist(sdist_directory, config_settings=None):
    """Refuse: the source distribution is learn2learn's own."""
    raise SystemExit("this backend only builds a wheel from learn2learn's own source distribution")
