"""Passing open sockets to a new process the way systemd does, see sd_listen_fds(3)."""

# Run with `python -c`: gives the descriptors named in PASSED the numbers from 3 on, says so in the
# environment, and becomes the command that follows.
WRAPPER = """
import fcntl, os, sys
passed = [int(number) for number in os.environ.pop("PASSED").split()]
# First out of the way of the numbers that they are to have.
high = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in passed]
for place, number in enumerate(high, 3):
    os.dup2(number, place)
    os.close(number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(passed))
os.execv(sys.argv[1], sys.argv[1:])
"""
