"""The helper process of `ImageReader`: reads requests from its input until that ends, and writes replies.

A request is a pickled (path, shape), in a process that trusts its parent. A reply is not pickled, because the parent
does not trust a decoder that a damaged file may have taken over: `REPLY`, then the reason, or the digest and pixels.
"""

import contextlib
import os
import pickle
import signal
import struct
import sys
from pathlib import Path
from typing import BinaryIO

from fpcn_lightning.allocator import keep_freed_memory
from fpcn_lightning.data.images.decoding import Decoded, decode
from fpcn_lightning.data.images.files import read_file
from fpcn_lightning.data.images.limits import ImageLimits, UnreadableImage

READY = b"+"
REPLY = struct.Struct("<?IIIII")  # read, length of the text that follows, rows and columns of pixels, height and width
MAX_REASON = 1000  # bytes
_KEPT_BLOCK = 1 << 22  # bytes, of a picture of 1000 x 1000 pixels: memory of larger ones goes back to the system


def run(limits: ImageLimits) -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process, too: its parent decides
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the replies
    with contextlib.suppress(ImportError, AttributeError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # several processes decode in parallel instead
    keep_freed_memory(_KEPT_BLOCK)  # or a quarter of the time of a small picture is page faults
    _limit_memory(limits.memory)
    replies.write(READY)
    replies.flush()
    while True:
        try:
            path, shape = pickle.load(requests)
        except EOFError:
            return
        try:
            _write(replies, decode(read_file(path, limits), shape, limits))
        except UnreadableImage as error:
            reason = str(error).encode("utf-8", "replace")[:MAX_REASON]
            replies.write(REPLY.pack(False, len(reason), 0, 0, 0, 0) + reason)
        except MemoryError:
            reason = b"the picture needs more memory than there is"
            replies.write(REPLY.pack(False, len(reason), 0, 0, 0, 0) + reason)
        replies.flush()


def _write(replies: BinaryIO, image: Decoded) -> None:
    digest = image.digest.encode()
    replies.write(REPLY.pack(True, len(digest), *image.pixels.shape[:2], image.height, image.width) + digest)
    replies.write(image.pixels.data)


def _limit_memory(further: int) -> None:
    """Limit the address space to what is used now and `further` bytes, where the system can."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + further,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        return
