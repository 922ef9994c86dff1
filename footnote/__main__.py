"""Entry point: runs a command, and turns errors into one line on stderr and an exit code."""

import atexit
import gc
import os
import signal
import sys
from typing import NoReturn

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def main() -> None:
    """What the `footnote` script calls."""
    # numpy and faiss would each start a pool of threads that nothing here uses.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports make a hundred thousand objects that all stay: looking for garbage there is a tenth of a cold start.
    gc.set_threshold(100_000, 50, 50)
    from footnote.cli import app
    from retrieval.errors import FootnoteError

    try:
        app()
    except FootnoteError as exc:
        print(f"error: {exc}", file=sys.stderr)
        raise SystemExit(EXIT_ERROR) from None
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as exc:
        if exc.code == EXIT_INTERRUPTED:  # typer makes this of a KeyboardInterrupt, and says nothing
            _interrupted()
        raise
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_ERROR) from None
    finally:
        gc.freeze()  # at its end Python would look through everything once more: a tenth of a second


def _interrupted() -> NoReturn:
    # As Python ends it gives signals back to the system, which would make of another Ctrl-C an exit code of its own.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    print("stopped; what was reported as done is kept, run the same command to go on", file=sys.stderr)
    raise SystemExit(EXIT_INTERRUPTED) from None


if __name__ == "__main__":
    main()
