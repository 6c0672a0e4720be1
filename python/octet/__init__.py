"""INT8 inference for the Qwen 1.5B family.

    import octet

    model = octet.Model("r1.int8.safetensors")
    session = octet.Session(model)
    for piece in session.stream("What is 17 * 24?"):
        print(piece, end="", flush=True)
"""

from ._octet import (
    CancelToken,
    ConvertReport,
    DeviceInfo,
    Engine,
    EngineStats,
    Error,
    ErrorCode,
    GeneratedToken,
    Generation,
    Model,
    ModelConfig,
    Session,
    Stats,
    StopReason,
    TextStream,
    TokenLogprob,
    Tokenizer,
    __version__,
    convert,
    devices,
    embed,
)
from ._options import Message, Options

__all__ = [
    "CancelToken",
    "ConvertReport",
    "DeviceInfo",
    "Engine",
    "EngineStats",
    "Error",
    "ErrorCode",
    "GeneratedToken",
    "Generation",
    "Message",
    "Model",
    "ModelConfig",
    "Options",
    "Session",
    "Stats",
    "StopReason",
    "TextStream",
    "TokenLogprob",
    "Tokenizer",
    "convert",
    "devices",
    "embed",
]
