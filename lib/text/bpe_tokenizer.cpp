#include "lib/text/bpe_tokenizer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "lib/core/error.h"
#include "lib/text/tokenizer_flat.h"
#include "lib/text/unicode.h"

namespace octet {
namespace {

constexpr size_t kMaxSteps = 16;

/// From a token's bytes to its id.
class TokenIndex {
 public:
  explicit TokenIndex(const BpeModel& model) : model_(model) {
    const auto size = static_cast<size_t>(model.size());
    slots_.resize(std::bit_ceil(size + size / 2 + 2));
    // Where two tokens have the same bytes, the one that words become comes first.
    for (const uint8_t whole : {1, 0}) {
      for (int32_t id = 0; id < model.size(); ++id) {
        if (model.whole[static_cast<size_t>(id)] == whole) insert(id);
      }
    }
  }

  /// -1: no token has these bytes.
  int32_t find(std::string_view bytes) const {
    return bytes.size() > longest_ ? -1 : slots_[slot_of(bytes, hash(bytes))].id;
  }

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };

  void insert(int32_t id) {
    const std::string_view bytes = model_.bytes(id);
    if (bytes.empty()) return;
    longest_ = std::max(longest_, bytes.size());
    const uint32_t bytes_hash = hash(bytes);
    Slot& slot = slots_[slot_of(bytes, bytes_hash)];
    if (slot.id == -1) slot = {bytes_hash, id};
  }

  /// The slot of these bytes, or the empty one where they belong.
  size_t slot_of(std::string_view bytes, uint32_t bytes_hash) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = bytes_hash & mask;
    while (slots_[slot].id != -1 &&
           (slots_[slot].hash != bytes_hash || model_.bytes(slots_[slot].id) != bytes)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /// Multiply and fold, eight bytes at a time.
  static uint32_t hash(std::string_view bytes) {
    uint64_t state = bytes.size();
    for (size_t at = 0; at < bytes.size(); at += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, std::min<size_t>(8, bytes.size() - at));
      state = (state ^ word) * 0x9E3779B97F4A7C15u;
      state ^= state >> 32;
    }
    return static_cast<uint32_t>(state * 0x9E3779B97F4A7C15u >> 32);
  }

  const BpeModel& model_;
  std::vector<Slot> slots_;
  size_t longest_ = 0;
};

struct CompiledStep {
  std::unique_ptr<Regex> regex;  // null: no cut
  bool prefix_space = false;
};

std::vector<CompiledStep> compile_steps(const BpeModel& model, const std::string& where) {
  require(model.steps.size() <= kMaxSteps, ErrorCode::InvalidFile, where, ": a pre-tokenizer of ",
          model.steps.size(), " steps, at most ", kMaxSteps, " are allowed");
  std::vector<CompiledStep> steps;
  for (const SplitStep& step : model.steps) {
    steps.push_back({step.pattern.empty() ? nullptr : std::make_unique<Regex>(step.pattern, where),
                     step.prefix_space});
  }
  return steps;
}

AddedTokenMatcher make_matcher(const BpeModel& model, bool normalized) {
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : model.added) {
    if ((token.normalized && model.nfc) != normalized) continue;
    tokens.push_back(token);
    if (normalized) tokens.back().text = to_nfc(token.text);
  }
  return AddedTokenMatcher(std::move(tokens));
}

class BpeTokenizer final : public TokenizerImpl {
 public:
  BpeTokenizer(BpeModel model, const std::string& where)
      : model_(std::move(model)),
        index_(model_),
        merges_(model_.merges),
        raw_added_(make_matcher(model_, false)),
        normalized_added_(make_matcher(model_, true)),
        steps_(compile_steps(model_, where)),
        special_(static_cast<size_t>(model_.size())) {
    for (const AddedToken& token : model_.added) {
      if (token.special) special_[static_cast<size_t>(token.id)] = true;
    }
    bos_id = model_.bos_id;
    add_bos = model_.add_bos;
  }

  void encode(std::string_view text, bool parse_special, std::vector<int32_t>& ids) const override {
    Call call(merges_, ids);
    auto on_token = [&](int32_t id) { ids.push_back(id); };
    auto on_normalized = [&](std::string_view part) { encode_step(0, part, call); };
    auto on_raw = [&](std::string_view part) {
      std::string normalized;
      if (model_.nfc && may_need_nfc(part)) part = normalized = to_nfc(part);
      if (parse_special) {
        split_at_added_tokens(normalized_added_, part, on_normalized, on_token);
      } else {
        on_normalized(part);
      }
    };
    if (parse_special) {
      split_at_added_tokens(raw_added_, text, on_raw, on_token);
    } else {
      on_raw(text);
    }
  }

  void append_bytes(int32_t id, bool, std::string& bytes) const override {
    if (id < model_.size()) bytes += model_.bytes(id);
  }
  int32_t size() const override { return model_.size(); }
  bool has_text(int32_t id) const override {
    return id >= 0 && id < model_.size() && !model_.bytes(id).empty();
  }
  bool is_special(int32_t id) const override {
    return id >= 0 && id < model_.size() && special_[static_cast<size_t>(id)];
  }

  int32_t find(std::string_view token) const override {
    int32_t id = raw_added_.find_exact(token);
    if (id == -1) id = normalized_added_.find_exact(token);
    return id == -1 ? index_.find(token) : id;
  }

  int32_t find_added(std::string_view text, size_t from, size_t& begin,
                     size_t& end) const override {
    AddedTokenMatcher::Match best, other;
    if (!raw_added_.find(text, from, best)) best = {text.size(), text.size(), -1};
    if (normalized_added_.find(text, from, other) && other.begin < best.begin) best = other;
    begin = best.begin;
    end = best.end;
    return best.id;
  }

  std::vector<std::byte> serialize() const override {
    FlatWriter out(FlatKind::bpe);
    write_bpe_model(model_, out);
    return out.take();
  }

 private:
  /// What one call of encode() works with.
  struct Call {
    Call(const MergeTable& table, std::vector<int32_t>& out) : merger(table), ids(out) {}
    RegexScratch regex;
    BpeMerger merger;
    std::vector<int32_t> word;
    std::vector<int32_t>& ids;
  };

  void encode_step(size_t index, std::string_view piece, Call& call) const {
    if (index == steps_.size()) return encode_word(piece, call);
    const CompiledStep& step = steps_[index];
    std::string prefixed;
    if (step.prefix_space && piece.front() != ' ') {
      prefixed.append(1, ' ').append(piece);
      piece = prefixed;
    }
    if (!step.regex) return encode_step(index + 1, piece, call);
    step.regex->split(piece, call.regex,
                      [&](std::string_view part) { encode_step(index + 1, part, call); });
  }

  void encode_word(std::string_view bytes, Call& call) const {
    const int32_t whole = index_.find(bytes);
    if (whole != -1 && model_.whole[static_cast<size_t>(whole)]) {
      call.ids.push_back(whole);
      return;
    }
    call.word.clear();
    for (char byte : bytes) {
      const int32_t id = model_.byte_ids[static_cast<uint8_t>(byte)];
      if (id >= 0) call.word.push_back(id);
    }
    call.merger.merge(call.word);
    call.ids.insert(call.ids.end(), call.word.begin(), call.word.end());
  }

  const BpeModel model_;
  const TokenIndex index_;
  const MergeTable merges_;
  const AddedTokenMatcher raw_added_;
  const AddedTokenMatcher normalized_added_;
  const std::vector<CompiledStep> steps_;
  std::vector<bool> special_;
};

}  // namespace

Handle<TokenizerImpl> make_bpe_tokenizer(BpeModel model, const std::string& where) {
  return Handle<TokenizerImpl>(new BpeTokenizer(std::move(model), where));
}

}  // namespace octet
