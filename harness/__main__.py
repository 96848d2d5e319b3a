"""``python -m harness``: the command line."""

import os
import sys

# ``python -m`` looks for modules in the working folder first, where a user's yaml.py or random.py
# would replace the library. There it comes last, as it does for the ``harness`` command.
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] == os.getcwd():
    sys.path.append(sys.path.pop(0))

from harness.cli import main

if __name__ == "__main__":
    main()
