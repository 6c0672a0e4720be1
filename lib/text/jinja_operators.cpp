#include "lib/text/jinja_operators.h"

#include <algorithm>

#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_text.h"
#include "lib/text/unicode.h"

namespace octet::jinja {
namespace {

bool equal_lists(Runtime& rt, const List& a, const List& b) {
  if (a.tuple != b.tuple || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!equal(rt, a.items[i], b.items[i])) return false;
  }
  return true;
}

/// The value of a key; null if there is none.
const Value* find_key(Runtime& rt, const Dict& dict, const Value& key) {
  for (const auto& [name, value] : dict.items) {
    if (equal(rt, name, key)) return &value;
  }
  return nullptr;
}

bool equal_dicts(Runtime& rt, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = find_key(rt, b, key);
    if (!other || !equal(rt, value, *other)) return false;
  }
  return true;
}

std::partial_ordering order_lists(Runtime& rt, const List& a, const List& b) {
  for (size_t i = 0; i < std::min(a.items.size(), b.items.size()); ++i) {
    if (!equal(rt, a.items[i], b.items[i])) return order(rt, a.items[i], b.items[i]);
  }
  return a.items.size() <=> b.items.size();
}

/// An element of a loop's surroundings; undefined at the ends.
Value neighbour(const Loop& loop, size_t index, const char* what) {
  if (index < loop.items->items.size()) return loop.items->items[index];
  return Value::undefined(str("there is no ", what));
}

Value loop_attribute(const Loop& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.index);
  const auto size = static_cast<int64_t>(loop.items->items.size());
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(size - index);
  if (name == "revindex0") return Value::integer(size - index - 1);
  if (name == "first") return Value::boolean(index == 0);
  if (name == "last") return Value::boolean(index + 1 == size);
  if (name == "length") return Value::integer(size);
  // Loops that call themselves would have other depths.
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem") return neighbour(loop, loop.index - 1, "previous item");
  if (name == "nextitem") return neighbour(loop, loop.index + 1, "next item");
  return Value::undefined(str("a loop has no attribute '", name, "'"));
}

/// The place of a negative or positive index; false if it is outside.
bool to_place(int64_t index, size_t size, size_t& place) {
  if (index < 0) index += static_cast<int64_t>(size);
  place = static_cast<size_t>(index);
  return index >= 0 && place < size;
}

Value character_at(Runtime& rt, const std::string& text, int64_t index) {
  rt.read(text.size());
  size_t place = 0;
  const std::vector<uint32_t> offsets = character_offsets(text);
  if (!to_place(index, offsets.size() - 1, place)) return Value::undefined("no such character");
  return rt.text(text.substr(offsets[place], offsets[place + 1] - offsets[place]));
}

/// The indices that a slice takes, as Python's slice.indices() counts them.
struct Places {
  int64_t start, step, count;
};

int64_t clamp_bound(Runtime& rt, const Value& bound, int64_t size, int64_t otherwise, bool back) {
  if (bound.is_none()) return otherwise;
  int64_t index = 0;
  if (!to_integer(bound, index)) rt.fail("a slice's bound is of type ", type_name(bound));
  if (index < 0) index = std::max<int64_t>(index, -size - 1) + size;
  return std::clamp<int64_t>(index, back ? -1 : 0, back ? size - 1 : size);
}

Places places(Runtime& rt, const Value& start, const Value& stop, const Value& step_value,
              size_t length) {
  int64_t step = 1;
  if (!step_value.is_none() && !to_integer(step_value, step))
    rt.fail("a slice's step is no integer");
  if (step == 0) rt.fail("a slice's step is 0");
  const auto size = static_cast<int64_t>(length);
  step = std::clamp<int64_t>(step, -size - 1, size + 1);  // a longer step takes one element too
  const bool back = step < 0;
  const int64_t first = clamp_bound(rt, start, size, back ? size - 1 : 0, back);
  const int64_t end = clamp_bound(rt, stop, size, back ? -1 : size, back);
  const int64_t span = back ? first - end : end - first;
  const int64_t stride = back ? -step : step;
  return {first, step, span > 0 ? (span + stride - 1) / stride : 0};
}

Value slice_text(Runtime& rt, const std::string& text, const Value& start, const Value& stop,
                 const Value& step) {
  rt.read(text.size());
  const std::vector<uint32_t> offsets = character_offsets(text);
  const Places taken = places(rt, start, stop, step, offsets.size() - 1);
  std::string out;
  for (int64_t i = 0, at = taken.start; i < taken.count; ++i, at += taken.step) {
    const auto place = static_cast<size_t>(at);
    out.append(text, offsets[place], offsets[place + 1] - offsets[place]);
  }
  return rt.text(std::move(out));
}

[[noreturn]] void missing_type(Runtime& rt, const char* what, const Value& value) {
  if (const Undefined* undefined = value.get<Undefined>()) rt.fail(*undefined->why);
  rt.fail("a value of type ", type_name(value), " ", what);
}

std::vector<Value> characters(Runtime& rt, const std::string& text) {
  rt.work(text.size());
  const std::vector<uint32_t> offsets = character_offsets(text);
  std::vector<Value> items;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    items.push_back(rt.text(text.substr(offsets[i], offsets[i + 1] - offsets[i])));
  }
  return items;
}

}  // namespace

bool equal(Runtime& rt, const Value& a, const Value& b) {
  rt.work();
  if (const double* x = a.get<double>(), *y = b.get<double>(); x && y) return *x == *y;
  if (int64_t m = 0, n = 0; to_integer(a, m) && to_integer(b, n)) return m == n;
  if (double x = 0, y = 0; to_real(a, x) && to_real(b, y)) return x == y;
  if (a.kind().index() != b.kind().index()) return false;
  if (a.text()) {
    rt.read(a.text()->size());
    return *a.text() == *b.text();
  }
  if (a.list()) return equal_lists(rt, *a.list(), *b.list());
  if (a.dict()) return equal_dicts(rt, *a.dict(), *b.dict());
  if (a.is_undefined() || a.is_none()) return true;
  return a.name_space() == b.name_space() && a.loop() == b.loop() && a.macro() == b.macro() &&
         a.method() == b.method();
}

std::partial_ordering order(Runtime& rt, const Value& a, const Value& b) {
  rt.work();
  if (int64_t m = 0, n = 0; to_integer(a, m) && to_integer(b, n)) return m <=> n;
  if (double x = 0, y = 0; to_real(a, x) && to_real(b, y)) return x <=> y;
  if (a.text() && b.text()) {
    rt.read(a.text()->size());
    return *a.text() <=> *b.text();  // the order of UTF-8 is that of code points
  }
  if (a.list() && b.list() && a.list()->tuple == b.list()->tuple) {
    return order_lists(rt, *a.list(), *b.list());
  }
  for (const Value* value : {&a, &b}) {
    if (const Undefined* undefined = value->get<Undefined>()) rt.fail(*undefined->why);
  }
  rt.fail(type_name(a), " and ", type_name(b), " have no order");
}

void set_key(Runtime& rt, std::vector<std::pair<Value, Value>>& items, Value key, Value value) {
  if (key.dict() || (key.list() && !key.list()->tuple)) {
    rt.fail("a value of type ", type_name(key), " as a key");
  }
  for (auto& [name, member] : items) {
    if (equal(rt, name, key)) {
      member = std::move(value);
      return;
    }
  }
  items.emplace_back(std::move(key), std::move(value));
}

bool contains(Runtime& rt, const Value& container, const Value& item) {
  if (const std::string* text = container.text()) {
    if (!item.text()) missing_type(rt, "is not in a string", item);
    rt.read(text->size() + item.text()->size());
    return find_text(*text, *item.text()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return find_key(rt, *dict, item) != nullptr;
  const std::shared_ptr<const List> list = iterate(rt, container);
  return std::any_of(list->items.begin(), list->items.end(),
                     [&](const Value& element) { return equal(rt, element, item); });
}

Value attribute(Runtime& rt, const Value& object, const std::string& name) {
  if (const Undefined* undefined = object.get<Undefined>()) rt.fail(*undefined->why);
  if (object.loop() && name != "cycle") return loop_attribute(*object.loop(), name);
  if (Namespace* space = object.name_space()) {
    rt.work(space->items.size() / 8);
    if (const Value* value = space->find(name)) return *value;
  }
  if (const Builtin* method = find_method(object, name)) {
    return Value(Value::Kind(std::make_shared<const Method>(Method{method, object})));
  }
  if (const Dict* dict = object.dict()) {
    rt.work(dict->items.size() / 8);
    if (const Value* value = dict->find(name)) return *value;
  }
  return Value::undefined(
      str("a value of type ", type_name(object), " has no attribute '", name, "'"));
}

Value subscript(Runtime& rt, const Value& object, const Value& index) {
  if (const Undefined* undefined = object.get<Undefined>()) rt.fail(*undefined->why);
  if (const Dict* dict = object.dict()) {
    if (const Value* value = find_key(rt, *dict, index)) return *value;
  }
  int64_t number = 0;
  if (to_integer(index, number)) {
    size_t place = 0;
    if (object.text()) return character_at(rt, *object.text(), number);
    const List* list = object.list();
    if (list && to_place(number, list->items.size(), place)) return list->items[place];
  }
  if (index.text()) return attribute(rt, object, *index.text());
  return Value::undefined(str("a value of type ", type_name(object), " has no such element"));
}

Value slice(Runtime& rt, const Value& object, const Value& start, const Value& stop,
            const Value& step) {
  if (object.text()) return slice_text(rt, *object.text(), start, stop, step);
  const List* list = object.list();
  if (const Undefined* undefined = object.get<Undefined>()) rt.fail(*undefined->why);
  if (!list) return Value::undefined(str("a value of type ", type_name(object), " has no slices"));
  const Places taken = places(rt, start, stop, step, list->items.size());
  rt.work(static_cast<uint64_t>(taken.count));
  std::vector<Value> items;
  for (int64_t i = 0, at = taken.start; i < taken.count; ++i, at += taken.step) {
    items.push_back(list->items[static_cast<size_t>(at)]);
  }
  return rt.list(std::move(items), list->tuple);
}

std::shared_ptr<const List> iterate(Runtime& rt, const Value& value) {
  if (const auto* list = value.get<std::shared_ptr<const List>>()) return *list;
  std::vector<Value> items;
  if (const std::string* text = value.text()) {
    items = characters(rt, *text);
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, member] : dict->items) items.push_back(key);
  } else if (!value.is_undefined()) {
    missing_type(rt, "has no elements", value);
  }
  return *rt.list(std::move(items)).get<std::shared_ptr<const List>>();
}

int64_t length(Runtime& rt, const Value& value) {
  size_t size = 0;
  if (const std::string* text = value.text()) {
    rt.read(text->size());
    size = count_characters(*text);
  } else if (value.list()) {
    size = value.list()->items.size();
  } else if (value.dict()) {
    size = value.dict()->items.size();
  } else if (!value.is_undefined()) {
    missing_type(rt, "has no length", value);
  }
  return static_cast<int64_t>(size);
}

}  // namespace octet::jinja
