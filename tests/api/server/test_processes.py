import subprocess
import sys

SERVED = """
import gc, os, signal
from api.server.processes import WorkerProcesses

class Server:
    def run(self):
        print(gc.get_freeze_count() > 1_000, flush=True)
        os.kill(os.getppid(), signal.SIGTERM)

    def stop(self): ...

WorkerProcesses(1, lambda _: Server(), grace_seconds=1, on_end=lambda _: None).run(on_stopping=lambda: None)
"""


def test_a_workers_collector_leaves_alone_what_was_imported_before_it_was_forked() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SERVED], capture_output=True, check=True, text=True, timeout=60
    )
    assert found.stdout.split() == ["True"]
