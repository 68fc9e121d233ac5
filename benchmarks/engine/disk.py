"""A slower disk, where this machine's acknowledges at once: every flush of the process takes longer.

A small library stands before the system's `fsync` and `fdatasync`, carries them out, and then sleeps. It is
compiled by the machine's C compiler and loaded ahead of all others into this program, started anew, and into
what that starts, such as a PostgreSQL server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MARK = "BENCHMARKS_DISK_US"
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

static int slowly(const char *name, int file) {
    int (*flush)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);
    int result = flush(file);
    long microseconds = atol(getenv("BENCHMARKS_DISK_US"));
    struct timespec pause = {microseconds / 1000000, microseconds % 1000000 * 1000};
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    nanosleep(&pause, NULL);
    return result;
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
"""


def slow_down(microseconds: int) -> None:
    """Start this program anew with flushes that take so many microseconds longer, unless that was done.

    Does not return where it starts anew. Exits with a message where there is no C compiler.
    """
    if os.environ.get(MARK):
        return
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("--disk-us needs a C compiler: install gcc")
    folder = Path(tempfile.mkdtemp(prefix="slow-disk-"))
    folder.chmod(0o755)  # a PostgreSQL server may run as another user
    library = folder / "slow_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=SOURCE, text=True, check=True)  # noqa: S603
    environment = os.environ | {"LD_PRELOAD": str(library), MARK: str(microseconds)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606
