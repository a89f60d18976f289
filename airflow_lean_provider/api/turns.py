"""
How many acts an api-server's process carries out at a time.

The brake's acts take one another's turns (``store.transactions.lock_switch``). Whoever waits in the database
has a thread and one of the process's few connections meanwhile, which a task's end may need while the act
whose turn it is waits for that task: with more acts than connections everything stood still until a
connection timed out. Here they wait without either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

from fastapi import Depends

ACTS_AT_ONCE = 4
"""Far fewer than the connections of a process, and enough for one act to settle what others have asked."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def _in_turn() -> AsyncIterator[None]:
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(ACTS_AT_ONCE)):
        yield


IN_TURN = Depends(_in_turn)
