"""The tests that the package onnx has of one operator."""

from __future__ import annotations

import importlib
import warnings


def node_tests(operator):
    """Its cases. They are made where its module is imported, once a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own examples
        node = importlib.import_module("onnx.backend.test.case.node")
        importlib.import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    return [case for case in node._NodeTestCases if case.model.graph.node[0].op_type == operator]
