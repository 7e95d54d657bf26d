"""Calls for helper processes, in a module of their own so that a helper imports little."""

from __future__ import annotations

import os
import time

import numpy as np


def square_and_process(number: int) -> tuple[int, int]:
    time.sleep(0.02)
    return number * number, os.getpid()


def array_of(number: int) -> list[np.ndarray]:
    time.sleep(0.01)
    return [np.full((300, 400), number, np.float32), np.arange(number)]


def refuse_seven(number: int) -> int:
    time.sleep(0.02)
    if number == 7:
        raise ValueError("seven is refused")
    return number


def abort_elsewhere(caller: int) -> None:
    time.sleep(0.02)
    if os.getpid() != caller:
        os.abort()


def leave_elsewhere(caller: int) -> int:
    time.sleep(0.02)
    if os.getpid() != caller:
        os._exit(0)
    return os.getpid()


def print_loudly(number: int) -> int:
    time.sleep(0.02)
    print("a library talks", flush=True)
    os.write(1, b"and so does its C code\n")
    return number


def crash(*_: object) -> None:
    os.abort()


def leave(*_: object) -> None:
    os._exit(0)


def leave_once(marker: str) -> int:
    """Leave at the first call of all; the file says that it was made."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os._exit(0)


def nap(seconds: float) -> None:
    time.sleep(seconds)
