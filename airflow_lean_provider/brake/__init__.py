"""
The acts: pull, settle, release, repair, sweep, disable.

Each gathers facts (``scene``), lets the rules decide, and carries out the plan, one transaction a step.
"""
