"""Our update against public peers', step by step in turn on the same machine.

Each contestant is a process of its own, built once. An orchestrator tells one after another to do
a single update and watches what else runs meanwhile; the others wait on a pipe.
"""
