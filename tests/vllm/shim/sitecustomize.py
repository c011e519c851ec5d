"""Makes a CPU build of vLLM start, and share few cores fairly: put this folder on PYTHONPATH.

Tests and benchmarks alone need it; a GPU machine does not.

PyPI's torchvision is built for CUDA, so that beside a CPU build of torch its own operators cannot load, and importing it fails
for want of their names. vLLM's Qwen3-VL imports it for plain Python code that uses none of them: declaring the names is enough.
The folder beside says to `vllm` that it is installed: the CPU build is distributed under another name.
"""

import os
import sys
import time
from importlib.machinery import ModuleSpec
from typing import Any

_OPERATORS = ("nms", "qnms")


class _Declares:
    """Finds nothing; declares the operators just before torchvision is found by others."""

    def __init__(self) -> None:
        self._library: Any = None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torchvision" and self._library is None:
            import torch

            if not hasattr(torch.ops.torchvision, _OPERATORS[0]):
                self._library = torch.library.Library("torchvision", "FRAGMENT")
                for operator in _OPERATORS:
                    self._library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, _Declares())

# The server's two halves wait for each other by yielding in a loop, each to the other's cost where cores are few: its front
# starves, and the same requests take up to five times as many steps of the model (seen on two cores, Linux 6.18).
os.sched_yield = lambda: time.sleep(5e-5)
