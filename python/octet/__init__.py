"""INT8 inference for the Qwen 1.5B family.

    import octet

    model = octet.Model("r1.int8.safetensors")
    session = octet.Session(model)
    for piece in session.stream("What is 17 * 24?"):
        print(piece, end="", flush=True)
"""

from ._octet import (
    ConvertReport,
    DeviceInfo,
    Error,
    ErrorCode,
    Model,
    ModelConfig,
    Session,
    Stats,
    StopReason,
    TextStream,
    Tokenizer,
    __version__,
    convert,
    devices,
)
from ._options import Message, Options

__all__ = [
    "ConvertReport",
    "DeviceInfo",
    "Error",
    "ErrorCode",
    "Message",
    "Model",
    "ModelConfig",
    "Options",
    "Session",
    "Stats",
    "StopReason",
    "TextStream",
    "Tokenizer",
    "convert",
    "devices",
]
