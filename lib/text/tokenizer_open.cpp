#include <octet/tokenizer.h>

#include "lib/text/tokenizer_impl.h"

namespace octet {

Tokenizer Tokenizer::open(const std::string& path) {
  return make_tokenizer(read_tokenizer_source(path));
}

}  // namespace octet
