"""``python -m harness``: the command line."""

import os
import sys

# ``python -m`` looks for modules in the working folder first, where a user's yaml.py or random.py
# would replace the library. There it comes last, as it does for the ``harness`` command: after the
# folder of our own packages too, which an editable installation does not put on the path.
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] == os.getcwd():
    working_folder = sys.path.pop(0)
    sys.path += [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), working_folder]

from harness.cli import main

if __name__ == "__main__":
    main()
