"""What the daemon's log tells of faults in callbacks."""

import asyncio
import logging

import pytest

from oprel.server.app import _log_fault


async def logged(callback: object, caplog: pytest.LogCaptureFixture) -> str:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_fault)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        loop.call_soon(callback)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return caplog.text


async def test_a_result_for_nobody_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    assert await logged(lambda: None, caplog) == ""


async def test_every_other_fault_is(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> None:
        raise asyncio.InvalidStateError("something else")

    assert "something else" in await logged(fault, caplog)
