"""What the C library is told to do with memory, asked in a process of its own."""

import platform
import subprocess
import sys

import pytest
from wireunit import environment

_TRY = """
import ctypes, os, tempfile, threading
from edge.system import malloc as memory

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
libc.free.argtypes = [ctypes.c_void_p]


def told():
    with tempfile.NamedTemporaryFile() as file:
        out = libc.fopen(file.name.encode(), b"w")
        libc.malloc_info(0, out)
        libc.fclose(out)
        return file.read().decode()


memory.limit_arenas()
together = threading.Barrier(4)


def work():
    together.wait()
    block = libc.malloc(300_000)
    together.wait()
    libc.free(block)


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(told().count("<heap nr="))
for _ in range(2):  # the first that is freed would have raised the threshold
    block = libc.malloc(2 << 20)
    mapped = told().split('<total type="mmap" count="')[1].split('"')[0]
    libc.free(block)
    print(int(mapped) - int(told().split('<total type="mmap" count="')[1].split('"')[0]))
memory.trim()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_threads_share_one_arena_and_large_blocks_go_back_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TRY], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout.split() == ["1", "1", "1"]
