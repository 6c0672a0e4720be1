#include <octet/tokenizer.h>

#include "lib/c/call.h"
#include "lib/c/handles.h"

using namespace octet;
using namespace octet::c;

octet_status octet_tokenizer_open(const char* path, octet_tokenizer** tokenizer) {
  return call([&] {
    octet_tokenizer*& out = given(tokenizer, "tokenizer");
    out = new octet_tokenizer{Tokenizer::open(std::string(text(path, "path")))};
  });
}

octet_status octet_tokenizer_of(const octet_model* model, octet_tokenizer** tokenizer) {
  return call([&] {
    octet_tokenizer*& out = given(tokenizer, "tokenizer");
    out = new octet_tokenizer{given(model, "model").model.tokenizer()};
  });
}

void octet_tokenizer_free(octet_tokenizer* tokenizer) {
  delete tokenizer;
}

octet_status octet_tokenizer_encode(const octet_tokenizer* tokenizer, const char* text,
                                    size_t length, bool add_bos, bool parse_special, int32_t** ids,
                                    size_t* count) {
  return call([&] {
    int32_t*& out = given(ids, "ids");
    size_t& out_count = given(count, "count");
    const std::span<const char> bytes = array(text, length, "text");
    const std::vector<int32_t> made =
        given(tokenizer, "tokenizer")
            .tokenizer.encode({bytes.data(), bytes.size()}, {add_bos, parse_special});
    out = copy(made);
    out_count = made.size();
  });
}

octet_status octet_tokenizer_decode(const octet_tokenizer* tokenizer, const int32_t* ids,
                                    size_t count, bool keep_special, char** text, size_t* length) {
  return call([&] {
    char*& out = given(text, "text");
    const std::string made =
        given(tokenizer, "tokenizer").tokenizer.decode(array(ids, count, "ids"), {keep_special});
    out = copy(made);
    if (length) *length = made.size();
  });
}

int32_t octet_tokenizer_size(const octet_tokenizer* tokenizer) {
  return tokenizer ? tokenizer->tokenizer.size() : 0;
}

int32_t octet_tokenizer_bos_id(const octet_tokenizer* tokenizer) {
  return tokenizer ? tokenizer->tokenizer.bos_id() : -1;
}

int32_t octet_tokenizer_find(const octet_tokenizer* tokenizer, const char* token) {
  return tokenizer && token ? tokenizer->tokenizer.find(token) : -1;
}
