"""`python die_with_parent.py PARENT COMMAND...` becomes COMMAND, which is interrupted if the process PARENT dies.

It is run by its path, so that it starts in milliseconds. Python code between fork and exec would do the same without
a file of its own, but is unsafe in a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>; it outlives exec


def main() -> None:
    """Have the system interrupt this process when its parent dies, and replace it by the command."""
    parent, *command = sys.argv[1:]
    # A background process of a shell ignores SIGINT, and so would everything that it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Slurm sends this warning of the time limit to every process of a job: submitit handles it, it would kill this one.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != int(parent):
        sys.exit("the sweep has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
