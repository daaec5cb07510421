"""What every task that uses torch sets in its process."""

from fpcn_lightning.allocator import keep_freed_memory
from fpcn_lightning.library_warnings import quiet_libraries


def prepare_libraries() -> None:
    """Pass on only messages that a user can act on, and keep freed memory; called before anything is built."""
    quiet_libraries()
    keep_freed_memory()
