// Filters over the elements of a sequence or dictionary.
#include <algorithm>
#include <bit>

#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_text.h"

namespace octet::jinja {
namespace {

Value default_value(Runtime& rt, const Value& self, Arguments& args) {
  const Value* given = args.next("default_value");
  const bool boolean = args.flag("boolean", false);
  if (!self.is_undefined() && !(boolean && !is_true(self))) return self;
  return given ? *given : rt.text("");
}

Value first(Runtime& rt, const Value& self, Arguments&) {
  const auto list = iterate(rt, self);
  return list->items.empty() ? Value::undefined("the first of no elements") : list->items.front();
}

Value last(Runtime& rt, const Value& self, Arguments&) {
  const auto list = iterate(rt, self);
  return list->items.empty() ? Value::undefined("the last of no elements") : list->items.back();
}

Value to_list(Runtime& rt, const Value& self, Arguments&) {
  const auto list = iterate(rt, self);
  if (!list->tuple) return Value(Value::Kind(list));
  rt.work(list->items.size());
  return rt.list(list->items);
}

Value reverse(Runtime& rt, const Value& self, Arguments&) {
  if (self.text() || self.list()) {
    const Value reversed = slice(rt, self, {}, {}, Value::integer(-1));
    if (self.text()) return reversed;
    return rt.list(reversed.list()->items);
  }
  std::vector<Value> items = iterate(rt, self)->items;
  std::reverse(items.begin(), items.end());
  return rt.list(std::move(items));
}

Value items_of(Runtime& rt, const Value& self, Arguments&) {
  if (self.is_undefined()) return rt.list({});
  if (!self.dict()) rt.fail("items takes a dictionary, not ", type_name(self));
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict()->items) items.push_back(rt.list({key, value}, true));
  return rt.list(std::move(items));
}

/// The attribute that a path like "message.role" or "0" names. A number in it is an index.
Value by_path(Runtime& rt, const Value& object, const Value& path, const Value* otherwise = {}) {
  if (!path.text()) return subscript(rt, object, path);
  Value value = object;
  for (std::string_view part : split(*path.text(), ".", -1)) {
    const bool number = part.size() < 10 && is_all(part, CharacterClass::digit);
    value = subscript(
        rt, value,
        number ? Value::integer(std::stoi(std::string(part))) : rt.text(std::string(part)));
    if (otherwise && value.is_undefined()) value = *otherwise;
  }
  return value;
}

Value attr(Runtime& rt, const Value& self, Arguments& args) {
  const std::string name = args.required_text(rt, "name");
  // Unlike self.name, this does not look for a key.
  if (self.dict() && !find_method(self, name)) return Value::undefined("a dict has no attributes");
  return attribute(rt, self, name);
}

/// What elements are ordered and compared by.
struct Key {
  bool case_sensitive;
  const Value* path;

  Value operator()(Runtime& rt, const Value& item) const {
    Value value = path && !path->is_none() ? by_path(rt, item, *path) : item;
    if (case_sensitive || !value.text()) return value;
    rt.read(value.text()->size());
    return rt.text(lower(*value.text()));
  }
};

/// Elements in the order of their keys; equal ones stay in theirs.
std::vector<Value> sorted(Runtime& rt, const std::vector<Value>& items, const Key& key,
                          bool reversed) {
  rt.work(items.size() * static_cast<size_t>(std::bit_width(items.size())));
  std::vector<std::pair<Value, const Value*>> keyed;
  for (const Value& item : items) keyed.emplace_back(key(rt, item), &item);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reversed ? order(rt, b.first, a.first) < 0 : order(rt, a.first, b.first) < 0;
  });
  std::vector<Value> result;
  for (const auto& [unused, item] : keyed) result.push_back(*item);
  return result;
}

Value sort(Runtime& rt, const Value& self, Arguments& args) {
  const bool reversed = args.flag("reverse", false);
  const bool case_sensitive = args.flag("case_sensitive", false);
  const Key key{case_sensitive, args.next("attribute")};
  return rt.list(sorted(rt, iterate(rt, self)->items, key, reversed));
}

Value dictsort(Runtime& rt, const Value& self, Arguments& args) {
  const bool case_sensitive = args.flag("case_sensitive", false);
  const Value* by = args.next("by");
  const bool reversed = args.flag("reverse", false);
  const bool by_value = by && by->text() && *by->text() == "value";
  if (by && !by_value && !(by->text() && *by->text() == "key")) rt.fail("by is key or value");
  if (!self.dict()) rt.fail("dictsort takes a dictionary, not ", type_name(self));
  Arguments none;
  const Value items = items_of(rt, self, none);
  const Value place = Value::integer(by_value ? 1 : 0);
  return rt.list(sorted(rt, items.list()->items, {case_sensitive, &place}, reversed));
}

Value unique(Runtime& rt, const Value& self, Arguments& args) {
  const bool case_sensitive = args.flag("case_sensitive", false);
  const Key key{case_sensitive, args.next("attribute")};
  std::vector<Value> keys, result;
  for (const Value& item : iterate(rt, self)->items) {
    Value own = key(rt, item);
    const bool known = std::any_of(keys.begin(), keys.end(),
                                   [&](const Value& other) { return equal(rt, own, other); });
    if (known) continue;
    keys.push_back(std::move(own));
    result.push_back(item);
  }
  return rt.list(std::move(result));
}

template <bool largest>
Value extreme(Runtime& rt, const Value& self, Arguments& args) {
  const bool case_sensitive = args.flag("case_sensitive", false);
  const Key key{case_sensitive, args.next("attribute")};
  const auto list = iterate(rt, self);
  if (list->items.empty()) return Value::undefined("an extreme of no elements");
  Value best = list->items[0], best_key = key(rt, best);
  for (const Value& item : list->items) {
    Value own = key(rt, item);
    if (largest ? order(rt, own, best_key) > 0 : order(rt, own, best_key) < 0) {
      best = item;
      best_key = std::move(own);
    }
  }
  return best;
}

Value sum(Runtime& rt, const Value& self, Arguments& args) {
  const Value* path = args.next("attribute");
  const Value* start = args.next("start");
  Value total = start ? *start : Value::integer(0);
  for (const Value& item : iterate(rt, self)->items) {
    const Value value = path && !path->is_none() ? by_path(rt, item, *path) : item;
    total = calculate(rt, Arithmetic::add, total, value);
  }
  return total;
}

/// map('filter', arguments...) or map(attribute='name', default=value).
Value map(Runtime& rt, const Value& self, Arguments& args) {
  const auto list = iterate(rt, self);
  std::vector<Value> result;
  if (args.positional.empty()) {
    const Value* path = args.next_named("attribute");
    const Value* otherwise = args.next_named("default");
    if (!path) rt.fail("map needs the name of a filter or an attribute");
    for (const Value& item : list->items) result.push_back(by_path(rt, item, *path, otherwise));
    return rt.list(std::move(result));
  }
  const std::string name = args.required_text(rt, "filter");
  const Builtin* filter = find_filter(name);
  if (!filter) rt.unsupported("the filter '", name, "'");
  const Arguments rest = args.rest();
  for (const Value& item : list->items) {
    rt.work(1 + rest.positional.size() + rest.named.size());
    result.push_back(call(rt, *filter, item, rest));
  }
  return rt.list(std::move(result));
}

/// The elements that a test, or without one their truth, lets through.
template <bool by_attribute, bool wanted>
Value select(Runtime& rt, const Value& self, Arguments& args) {
  const auto list = iterate(rt, self);
  const Value path = by_attribute ? args.required(rt, "attribute") : Value::none();
  const Builtin* test = nullptr;
  if (const Value* name = args.next("test")) {
    test = name->text() ? find_test(*name->text()) : nullptr;
    if (!test) rt.unsupported("the test '", name->text() ? *name->text() : type_name(*name), "'");
  }
  const Arguments rest = args.rest();
  std::vector<Value> result;
  for (const Value& item : list->items) {
    rt.work(1 + rest.positional.size() + rest.named.size());
    const Value value = by_attribute ? by_path(rt, item, path) : item;
    if (is_true(test ? call(rt, *test, value, rest) : value) == wanted) result.push_back(item);
  }
  return rt.list(std::move(result));
}

constexpr Builtin table[] = {
    {"default", default_value},
    {"d", default_value},
    {"first", first},
    {"last", last},
    {"list", to_list},
    {"reverse", reverse},
    {"items", items_of},
    {"attr", attr},
    {"sort", sort},
    {"dictsort", dictsort},
    {"unique", unique},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"sum", sum},
    {"map", map},
    {"select", select<false, true>},
    {"reject", select<false, false>},
    {"selectattr", select<true, true>},
    {"rejectattr", select<true, false>},
};

}  // namespace

std::span<const Builtin> sequence_filters() {
  return table;
}

}  // namespace octet::jinja
