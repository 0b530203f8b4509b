"""The parts of `benchmarks/seq2seq.py`: the split, a plain PyTorch translator, their races.

Every translator runs in a process of its own (`_worker.py`), which alone imports its framework.
"""
