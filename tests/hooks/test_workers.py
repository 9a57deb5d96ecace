"""A pool that is stopped ends, whatever its threads are doing."""

import subprocess
import sys

SCRIPT = """
import time
from concurrent.futures import ProcessPoolExecutor
from sparseshift.hooks.workers import StoppablePool

def wait(task):
    time.sleep(60)

if __name__ == "__main__":
    stopped = []
    try:
        with StoppablePool(ProcessPoolExecutor(1), lambda: stopped.append(True)) as pool:
            for _ in range(4):
                # larger than a pipe's buffer: the second is half written while the first runs
                pool.submit(wait, bytes(1_000_000))
            time.sleep(1)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("stopped", stopped)
"""


def test_a_stop_does_not_wait_for_a_task_on_its_way() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=40, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["stopped [True]"], done.stderr
    assert done.returncode == 0
