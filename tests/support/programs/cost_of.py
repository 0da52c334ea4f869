"""Runs a command for `sh`, `argv[1]`, with its output thrown away; prints what it cost, as JSON.

It is a small process of its own: what a command is said to have held in memory is at least what the process
held that started it.
"""

import json
import os
import subprocess
import sys
import time

begun = time.perf_counter()
process = subprocess.Popen(["sh", "-c", sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
found = {
    "processor": usage.ru_utime + usage.ru_stime,
    "wall": time.perf_counter() - begun,
    "memory": usage.ru_maxrss * 1024,
}
print(json.dumps(found))
sys.exit(process.returncode)
