"""
How many acts an api-server's process carries out at a time.

The brake's acts take one another's turns (``store.transactions.lock_switch``). Whoever waits in the database
has a thread and one of the process's few connections meanwhile. Airflow asks for one on the event loop, to
look whether a token was revoked: with none left the whole process stood still, and with it the request that
held the row for which the act whose turn it was waited. Here they wait without either.
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
