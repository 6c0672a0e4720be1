#include "lib/text/jinja_runtime.h"

#include <algorithm>

namespace octet::jinja {

/// Namespaces can hold each other in a circle, which counting references would never free.
Runtime::~Runtime() {
  for (const std::shared_ptr<Namespace>& space : namespaces_) space->items.clear();
}

void Runtime::reserve_text(size_t bytes) {
  check_text(bytes);
  read(bytes);
  all_text_ += bytes;
  if (all_text_ > max_all_text)
    fail("the template makes more than ", max_all_text, " bytes of text");
}

int Runtime::checked_depth(int depth) const {
  if (depth > max_value_depth) fail("lists nested more than ", max_value_depth, " deep");
  return depth;
}

Value Runtime::text(std::string text) {
  reserve_text(text.size());
  return Value(Value::Kind(std::make_shared<const std::string>(std::move(text))));
}

Value Runtime::list(std::vector<Value> items, bool tuple) {
  work(items.size() + 1);
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, depth_of(item));
  return Value(Value::Kind(
      std::make_shared<const List>(List{std::move(items), tuple, checked_depth(depth + 1)})));
}

Value Runtime::dict(std::vector<std::pair<Value, Value>> items) {
  work(items.size() + 1);
  int depth = 0;
  for (const auto& [key, value] : items) {
    depth = std::max({depth, depth_of(key), depth_of(value)});
  }
  return Value(
      Value::Kind(std::make_shared<const Dict>(Dict{std::move(items), checked_depth(depth + 1)})));
}

Value Runtime::name_space(std::vector<std::pair<std::string, Value>> items) {
  work(items.size() + 16);
  namespaces_.push_back(std::make_shared<Namespace>(Namespace{std::move(items)}));
  return Value(Value::Kind(namespaces_.back()));
}

const Value* Arguments::next(std::string_view name) {
  return taken_ < positional.size() ? &positional[taken_++] : next_named(name);
}

const Value* Arguments::next_named(std::string_view name) {
  for (auto& [key, value] : named) {
    if (key == name) {
      key = {};
      return &value;
    }
  }
  return nullptr;
}

bool Arguments::flag(std::string_view name, bool otherwise) {
  const Value* value = next(name);
  return value ? is_true(*value) : otherwise;
}

int64_t Arguments::integer(Runtime& rt, std::string_view name, int64_t otherwise) {
  const Value* value = next(name);
  int64_t integer = otherwise;
  if (value && !to_integer(*value, integer)) {
    rt.fail("the argument '", name, "' is of type ", type_name(*value), ", not an integer");
  }
  return integer;
}

Value Arguments::required(Runtime& rt, std::string_view name) {
  const Value* value = next(name);
  if (!value) rt.fail("the argument '", name, "' is missing");
  return *value;
}

std::string Arguments::required_text(Runtime& rt, std::string_view name) {
  const Value value = required(rt, name);
  if (!value.text()) {
    rt.fail("the argument '", name, "' is of type ", type_name(value), ", not a string");
  }
  return *value.text();
}

Arguments Arguments::rest() {
  Arguments left;
  left.positional.assign(positional.begin() + static_cast<ptrdiff_t>(taken_), positional.end());
  taken_ = positional.size();
  for (auto& [key, value] : named) {
    if (!key.empty()) left.named.emplace_back(std::exchange(key, {}), value);
  }
  return left;
}

void Arguments::finish(Runtime& rt, std::string_view callee) const {
  if (taken_ < positional.size()) {
    rt.fail(callee, " takes at most ", taken_, " arguments, not ", positional.size());
  }
  for (const auto& [key, value] : named) {
    if (!key.empty()) rt.fail(callee, " takes no argument '", key, "'");
  }
}

}  // namespace octet::jinja
