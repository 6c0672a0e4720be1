#include "tools/serve/prompts.h"

#include <algorithm>

#include "tools/serve/api_error.h"

namespace octet::serve {
namespace {

constexpr size_t max_prompts = 64;
constexpr const char* expected = "a string, a list of strings, a list of ids, or a list of those";

bool all_numbers(const Json& list) {
  return std::all_of(list.begin(), list.end(), [](const Json& one) { return one.is_number(); });
}

}  // namespace

std::vector<int32_t> encode_text(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.encode(text, {.add_bos = tokenizer.adds_bos(), .parse_special = false});
}

std::vector<int32_t> read_ids(const Fields& fields, const char* name, const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX)
      fields.fail(name, "a list of token ids");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::vector<std::vector<int32_t>> read_prompts(Fields& fields, const char* name,
                                               const Tokenizer& tokenizer) {
  const Json* value = fields.any(name);
  if (value && value->is_string())
    return {encode_text(tokenizer, value->get_ref<const std::string&>())};
  if (!value || !value->is_array() || value->empty()) fields.fail(name, expected);
  if (all_numbers(*value)) return {read_ids(fields, name, *value)};
  if (value->size() > max_prompts)
    fields.fail(name, "at most " + std::to_string(max_prompts) + " prompts");
  std::vector<std::vector<int32_t>> prompts;
  for (const Json& one : *value) {
    if (one.is_string())
      prompts.push_back(encode_text(tokenizer, one.get_ref<const std::string&>()));
    else if (one.is_array() && !one.empty())
      prompts.push_back(read_ids(fields, name, one));
    else
      fields.fail(name, expected);
  }
  return prompts;
}

}  // namespace octet::serve
