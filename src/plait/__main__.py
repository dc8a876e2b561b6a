"""`python -m plait`."""

import os
import sys

if __name__ == "__main__":
    # Python puts the working directory before its own library; as with `plait`, no module comes from there by chance
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib would come from there
    sys.path[:1] = [p for p in sys.path[:1] if os.path.abspath(p) in (own,) or os.path.abspath(p) != os.getcwd()]  # noqa: PTH100, PTH109

    from plait.cli import main

    main()
