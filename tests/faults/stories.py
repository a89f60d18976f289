"""
What goes on while something breaks: every path of the product by which a row is written.

The language is that of ``tests/simulation/stories.py``. Acts in which the product does nothing are not
broken; a rest, in which everybody acts, is not either.
"""

from __future__ import annotations

from tests.simulation.graph import TaskSpec
from tests.simulation.stories import FIRST_AND_SECOND, LOADED, PUBLISHED, READS, A, B, Story, nightly, source

STORIES = {
    "readers are stopped, held, let go": Story(
        (source(), A, B),
        LOADED
        + """
start a h0#1 work
pull c1 raw h0 stop
trigger a h0
tick 0
hear a h0#1 work
sweep
tick 1
release c1 - false_alarm -
sweep
rest
""",
    ),
    "a task is parked": Story(
        (source(), nightly(TaskSpec("begin"), READS)),
        PUBLISHED
        + """
clock nightly monday
tick 0
pull c1 raw h0 stop
tick 0
start nightly #1 begin
succeed nightly #1 begin
tick 0
rest
release c1 - fixed -
rest
""",
    ),
    "a publication is absorbed, and read again": Story(
        (source(), A, B),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger source h0
tick 0
start source h0#2 load
succeed source h0#2 load
sweep
release c1 - fixed -
tick 0
start a h0#1 work
succeed a h0#1 work
tick 1
start b h0#1 work
succeed b h0#1 work
sweep
rest
""",
    ),
    "the cord clears what published": Story(
        (source(), A, B),
        PUBLISHED
        + """
pull c1 raw h0 stop
repair c1
sweep
tick 0
start source h0#1 load
succeed source h0#1 load
tick 0
rest
""",
    ),
    "disabled and enabled": Story(
        (source(), FIRST_AND_SECOND, nightly(TaskSpec("begin"), READS)),
        PUBLISHED
        + """
pull c1 raw h0 stop
trigger a h0
clock nightly monday
tick 0
disable
rest
enable
sweep
rest
release c1 - false_alarm -
rest
""",
    ),
    "what people decide": Story(
        (source(), A, B),
        PUBLISHED
        + """
pull c1 raw h0 warn
acknowledge c1
raise_ c1
trigger a h0
tick 0
let_through a h0#2
tick 0
start a h0#2 work
succeed a h0#2 work
declare raw h0 false_alarm
release c1 - withdrawn -
rest
""",
    ),
}
"""By what happens."""
