"""What runs the network: PyTorch, OpenVINO or ONNX Runtime, behind one small interface."""

from __future__ import annotations

from monai_vggunet.inference.engines.engine import ENGINES, PRECISIONS, Engine
from monai_vggunet.inference.engines.engine_choice import EngineChoice
from monai_vggunet.inference.engines.onnx_engine import OnnxEngine
from monai_vggunet.inference.engines.openvino_engine import OpenVINOEngine
from monai_vggunet.inference.engines.torch_engine import TorchEngine

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineChoice", "OnnxEngine", "OpenVINOEngine", "TorchEngine"]
