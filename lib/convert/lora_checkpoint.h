#pragma once
#include <memory>
#include <vector>

#include "lib/io/peft_adapter.h"

namespace octet {

/// An adapter and how much of it: 1 for all.
struct ScaledAdapter {
  PeftAdapter adapter;
  double scale;
};

/// `source` with W + scale * up down for each weight that the adapters change.
std::unique_ptr<Checkpoint> lora_checkpoint(std::unique_ptr<Checkpoint> source,
                                            std::vector<ScaledAdapter> adapters);

}  // namespace octet
