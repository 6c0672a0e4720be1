// The flat form of a byte-level BPE vocabulary.
#include <algorithm>

#include "lib/text/bpe_model.h"
#include "lib/text/tokenizer_flat.h"

namespace octet {
namespace {

/// Every id that the tokenizer will use as an index lies in the vocabulary, every offset in the
/// bytes. Whether the tables make sense does not matter for safety.
void check_tables(const BpeModel& model, const FlatReader& in) {
  const auto& begin = model.token_begin;
  in.check(!begin.empty() && begin.size() <= kMaxTokens + 1 && begin.front() == 0 &&
               begin.back() == model.token_bytes.size() &&
               std::is_sorted(begin.begin(), begin.end()),
           "the tokens' offsets are out of order");
  in.check(model.whole.size() == begin.size() - 1, "the tables differ in length");
  const auto size = static_cast<uint32_t>(model.size());
  auto inside = [size](int32_t id) { return static_cast<uint32_t>(id) < size; };
  in.check(std::all_of(model.byte_ids.begin(), model.byte_ids.end(),
                       [&](int32_t id) { return id == -1 || inside(id); }),
           "a byte's id is outside the vocabulary");
  in.check(std::all_of(model.merges.begin(), model.merges.end(),
                       [&](const BpeMerge& merge) {
                         return inside(merge.left) && inside(merge.right) && inside(merge.result);
                       }),
           "a merge's id is outside the vocabulary");
  in.check(model.bos_id == -1 || inside(model.bos_id),
           "the beginning-of-text id is outside the vocabulary");
}

}  // namespace

void write_bpe_model(const BpeModel& model, FlatWriter& out) {
  out.array(std::span<const uint32_t>(model.token_begin));
  out.text(model.token_bytes);
  out.array(std::span<const uint8_t>(model.whole));
  out.value(model.byte_ids);
  out.array(std::span<const BpeMerge>(model.merges));
  out.added_tokens(model.added);
  out.value<uint32_t>(static_cast<uint32_t>(model.steps.size()));
  for (const SplitStep& step : model.steps) {
    out.text(step.pattern);
    out.value<uint8_t>(step.prefix_space);
  }
  out.value<uint8_t>(model.nfc);
  out.value(model.bos_id);
  out.value<uint8_t>(model.add_bos);
}

BpeModel read_bpe_model(FlatReader& in) {
  BpeModel model;
  model.token_begin = in.array<uint32_t>();
  model.token_bytes = in.text();
  model.whole = in.array<uint8_t>();
  model.byte_ids = in.value<std::array<int32_t, 256>>();
  model.merges = in.array<BpeMerge>();
  in.check(!model.token_begin.empty(), "there are no tokens");
  model.added = in.added_tokens(model.size());
  for (auto steps = in.value<uint32_t>(); steps > 0; --steps) {
    SplitStep step;
    step.pattern = in.text();
    step.prefix_space = in.flag();
    model.steps.push_back(std::move(step));
  }
  model.nfc = in.flag();
  model.bos_id = in.value<int32_t>();
  model.add_bos = in.flag();
  check_tables(model, in);
  return model;
}

}  // namespace octet
