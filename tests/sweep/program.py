"""`python -m tests.sweep.program CODE ARGUMENTS` runs the code as `python -c` does, as a job of a sweep."""

import sys

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    exec(sys.argv[0], {"__name__": "__main__"})
