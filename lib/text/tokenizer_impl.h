#pragma once
// What a tokenizer is inside: one implementation a kind (byte-level BPE, sentencepiece).
#include <octet/tokenizer.h>

#include <cstddef>

#include "lib/core/counted.h"
#include "lib/io/tokenizer_source.h"

namespace octet {

struct TokenizerImpl : Counted {
  virtual void encode(std::string_view text, bool parse_special,
                      std::vector<int32_t>& ids) const = 0;
  /// The bytes that the id stands for; `first`: nothing came before it in this text.
  virtual void append_bytes(int32_t id, bool first, std::string& bytes) const = 0;
  virtual int32_t size() const = 0;
  virtual bool has_text(int32_t id) const = 0;
  virtual bool is_special(int32_t id) const = 0;
  virtual int32_t find(std::string_view token) const = 0;
  /// The leftmost text at or after `from` that spells an added token; -1: there is none.
  virtual int32_t find_added(std::string_view text, size_t from, size_t& begin,
                             size_t& end) const = 0;
  /// A flat form that TokenizerSource::Kind::flat reads back in well under 50 ms.
  virtual std::vector<std::byte> serialize() const = 0;

  int32_t bos_id = -1;
  bool add_bos = false;
};

/// Errors: InvalidFile; Unsupported naming what is unknown. Never trusts the source.
Tokenizer make_tokenizer(const TokenizerSource& source);

}  // namespace octet
