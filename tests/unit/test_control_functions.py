"""Functions that somebody invokes without a mapping: made when they are asked for, if they may be."""

from __future__ import annotations

import pytest

from esmd.control.protocol import InvalidError, NotFoundError

from support.control_lab import ControlLab, config, mapping

pytestmark = pytest.mark.looptime


async def test_a_function_that_no_mapping_uses_is_made_once():
    lab = await ControlLab(config()).begin()
    name = next(iter(lab.set.config.functions))
    assert name not in lab.set.functions
    function = await lab.set.function(name)
    assert lab.set.functions == {name: function}
    assert await lab.set.function(name) is function
    await lab.end()


async def test_a_function_that_is_not_registered_is_not_found():
    lab = await ControlLab(config()).begin()
    with pytest.raises(NotFoundError, match="the function unknown is not registered"):
        await lab.set.function("unknown")
    await lab.end()


async def test_a_function_that_leads_where_it_may_not_is_refused_unless_a_mapping_uses_it_already():
    lab = await ControlLab(config(mapping("orders"))).begin()
    lab.forbidden = InvalidError("not a local endpoint")
    used = lab.set.entry("orders").mapping.function_name
    assert (await lab.set.function(used)).name == used
    others = [name for name in lab.set.config.functions if name not in lab.set.functions]
    for name in others:
        with pytest.raises(InvalidError, match="not a local endpoint"):
            await lab.set.function(name)
    assert others, "a function that nobody uses"
    await lab.end()
