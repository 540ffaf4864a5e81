"""Work in processes of their own."""

import multiprocessing
import os
import threading


def follow_parent() -> None:
    """End this process when its parent has ended, lest it write into a later run's states."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
