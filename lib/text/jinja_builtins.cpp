#include "lib/text/jinja_builtins.h"

#include <algorithm>

namespace octet::jinja {
namespace {

const Builtin* find_in(std::span<const Builtin> table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Builtin& entry) { return entry.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const Builtin* find_filter(std::string_view name) {
  for (const auto table : {text_filters(), sequence_filters(), number_filters()}) {
    if (const Builtin* found = find_in(table, name)) return found;
  }
  return nullptr;
}

const Builtin* find_test(std::string_view name) {
  return find_in(tests(), name);
}

const Builtin* find_function(std::string_view name) {
  return find_in(functions(), name);
}

const Builtin* find_method(const Value& self, std::string_view name) {
  if (self.text()) return find_in(text_methods(), name);
  if (self.list()) return find_in(list_methods(), name);
  if (self.dict()) return find_in(dict_methods(), name);
  if (self.loop()) return find_in(loop_methods(), name);
  return nullptr;
}

Value call(Runtime& rt, const Builtin& builtin, const Value& self, Arguments args) {
  Value result = builtin.function(rt, self, args);
  args.finish(rt, builtin.name);
  return result;
}

}  // namespace octet::jinja
