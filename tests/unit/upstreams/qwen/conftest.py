from collections.abc import AsyncIterator

import pytest

from gateway.http import Outbound, Timeouts
from tests.emulators.qwen import QwenSite
from tests.emulators.serving import serve
from tests.unit.upstreams.qwen.rig import A, B, House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    site = QwenSite((A, B))
    http = Outbound(Timeouts(idle=5))
    await http.start()
    async with serve(site) as base_url:
        yield House(site, base_url, http)
    await http.close()
