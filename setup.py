"""What pyproject.toml cannot say: suites lie beside the package in a checkout, and inside it once it is installed."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithSuites(build_py):
    """Puts ``suites/`` into the package, so that ``harness run quickstart`` works from any folder."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for suite in sorted(Path("suites").rglob("*.yaml")):
                target = Path(self.build_lib, "harness", suite)
                self.mkpath(str(target.parent))
                self.copy_file(str(suite), str(target))


setup(cmdclass={"build_py": WithSuites})
