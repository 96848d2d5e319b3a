"""JSON files of others, such as lists of episodes and streams, read into a checked model."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import DataError

MOST_BYTES = 1 << 28
"""Size of a file that is read, at most."""

Model = TypeVar("Model", bound=BaseModel)


def read(path: str | Path, model: type[Model], name: str, hint: str) -> Model:
    """Read a file.

    Args:
        path: The file.
        model: What it must hold.
        name: What that is, in words: ``"a stream"``.
        hint: How such a file is made.

    Raises:
        DataError: It cannot be read, is too large, or does not hold ``model``.
    """
    file = Path(path)
    where = str(path)
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):  # reading a device or pipe may never end
            raise DataError("not a file", where=where, hint=hint)
        if facts.st_size > MOST_BYTES:
            size = f"larger than {MOST_BYTES >> 20} MiB"
            raise DataError(size, where=where, hint="split it into parts")
        return model.model_validate_json(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=where, hint=hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"not {name}: {place}: {first['msg']}", where=where, hint=hint) from None
