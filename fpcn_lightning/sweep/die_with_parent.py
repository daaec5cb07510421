"""`python leash.py PARENT COMMAND...` becomes COMMAND, which is interrupted should the process PARENT die.

It is run by its path, so that it starts in milliseconds. Python code between fork and exec would do the same without
a file of its own, but is unsafe in a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>; it outlives exec


def main() -> None:
    """Put this process on the leash and hand it over to the command."""
    parent, *command = sys.argv[1:]
    # What a shell runs in its background ignores SIGINT, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Slurm warns every process of a job of its time limit; the one that started us answers, for us it would be the end.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != int(parent):
        sys.exit("the sweep is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
