# SPDX-License-Identifier: MIT
"""A wall clock that jumps, for processes that are started with `environment` (see clock_shift.c)."""

import os
import shutil
import struct
import subprocess
from pathlib import Path


class ClockShift:
    def __init__(self, directory):
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not compiler:
            raise RuntimeError("no C compiler for the library that shifts the clock")
        library = Path(directory) / "clock_shift.so"
        source = Path(__file__).with_name("clock_shift.c")
        subprocess.run([compiler, "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source], check=True)
        self.path = Path(directory) / "clock_shift"
        self.path.write_bytes(bytes(8))
        self.environment = {
            "LD_PRELOAD": str(library),
            "CLOCK_SHIFT": str(self.path),
            # The sanitizer's runtime insists on being the first library; this one does not disturb it.
            "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:verify_asan_link_order=0",
        }

    def jump(self, seconds):
        """All clocks of these processes are off by so much from now on."""
        with open(self.path, "r+b") as file:
            file.write(struct.pack("=q", int(seconds * 1_000_000_000)))
