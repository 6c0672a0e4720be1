#pragma once
#include <octet/session.h>

#include <memory>

#include "lib/core/counted.h"
#include "lib/generate/lookup.h"
#include "lib/generate/sequence.h"

namespace octet {

struct SessionImpl : Counted {
  SessionImpl(const Model& owner, int64_t positions, Overflow policy);

  Model model;
  Rope rope;
  KvReservation reservation;
  Sequence sequence;
  std::vector<Adapter> adapters;
  std::vector<ChatMessage> messages;
  int32_t pending = -1;  ///< the last token drawn, not yet evaluated
  GenerateStats stats;
  std::vector<GeneratedToken> generated;
  std::string reasoning;
  Overflow overflow;
  std::unique_ptr<Lookup> lookup;  ///< made by the first generation that uses it
};

/// The context that options ask for. Errors: InvalidArgument if the model was not made for it.
int64_t context_of(const Model& model, int64_t asked);

}  // namespace octet
