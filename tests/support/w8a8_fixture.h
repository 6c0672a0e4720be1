#pragma once
#include <string>

namespace octet::testing {

/// The folder of the compressed-tensors checkpoint tiny-qwen2-w8a8, complete with its weights. They
/// follow from those of tiny-qwen2, so the repository does not hold them: they are made here when a
/// test first asks, as the fixtures' make_w8a8.py does (int8 linears, a scale a row in bf16).
std::string w8a8_fixture();

}  // namespace octet::testing
