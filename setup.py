"""What pyproject.toml cannot express: the folder of suites becomes part of the wheel."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSuites(build_py):
    """Copy ``suites/`` into the package: ``harness run quickstart`` then works from any folder."""

    def run(self) -> None:
        """Build the package, then add the suites unless this is an editable install."""
        super().run()
        if self.editable_mode:
            return
        for suite in sorted(Path("suites").rglob("*.yaml")):
            target = Path(self.build_lib, "harness", suite)
            self.mkpath(str(target.parent))
            self.copy_file(str(suite), str(target))


setup(cmdclass={"build_py": BuildWithSuites})
