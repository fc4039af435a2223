"""One runner per library: the same task given to each, in the Python of the library's own environment.

A runner is started as `python -m benchmarks.peer.<name> TASK.json`; what it is given and what it answers: task.py.
Nothing here imports Medley, but medley.py.
"""
