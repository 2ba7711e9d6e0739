"""What can be seen of a run: metrics, live display, summaries, curves, videos, evaluation.

Nothing heavy is imported here; every module loads TensorBoard, rich, matplotlib, OpenCV and torch
where they are used. The files and keys of a run are described in metrics.py.
"""
