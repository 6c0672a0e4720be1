#pragma once
#include <memory>

#include "lib/io/checkpoint.h"

namespace octet {

/// A checkpoint of a known shape whose weights are random, the same on every machine: uniform,
/// scaled so that activations keep their size. For benchmarks.
/// Errors: InvalidArgument naming the shapes that exist.
std::unique_ptr<Checkpoint> random_checkpoint(std::string_view shape);

}  // namespace octet
