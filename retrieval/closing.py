"""How stores are left: closed, unless somebody says stop."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar


class _Closes(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T", bound=_Closes)


@contextmanager
def closing_unless_stopped(
    thing: _T, *, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[_T]:
    """As `contextlib.closing`, but for Ctrl-C: closing completes indexes, and who says stop shall not wait for minutes.

    Nothing that was acknowledged depends on closing. `waiting` is entered while all is well and closing takes its time.
    """
    try:
        yield thing
    except KeyboardInterrupt:
        raise
    except BaseException:
        thing.close()
        raise
    else:
        with waiting():
            thing.close()
