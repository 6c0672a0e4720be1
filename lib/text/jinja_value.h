#pragma once
// What a template computes with: Python's values, as far as templates get to see them. Values do
// not change once made, except namespaces.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace octet::jinja {

struct Dict;
struct List;
struct Loop;
struct Macro;
struct Method;
struct Namespace;

struct None {};
/// What a name or key without a value gives: prints as nothing, fails when it is worked with.
struct Undefined {
  std::shared_ptr<const std::string> why;
};

class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using Kind = std::variant<None, Undefined, bool, int64_t, double, Text,
                            std::shared_ptr<const List>, std::shared_ptr<const Dict>,
                            std::shared_ptr<Namespace>, std::shared_ptr<const Loop>,
                            std::shared_ptr<const Macro>, std::shared_ptr<const Method>>;

  Value() = default;
  explicit Value(Kind kind) : kind_(std::move(kind)) {}
  static Value boolean(bool value) { return Value(Kind(value)); }
  static Value integer(int64_t value) { return Value(Kind(value)); }
  static Value real(double value) { return Value(Kind(value)); }
  static Value none() { return Value(); }
  static Value undefined(std::string why);

  template <class T>
  const T* get() const {
    return std::get_if<T>(&kind_);
  }
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  /// Null if the value is of another kind.
  const std::string* text() const { return pointee<Text>(); }
  const List* list() const { return pointee<std::shared_ptr<const List>>(); }
  const Dict* dict() const { return pointee<std::shared_ptr<const Dict>>(); }
  const Loop* loop() const { return pointee<std::shared_ptr<const Loop>>(); }
  const Macro* macro() const { return pointee<std::shared_ptr<const Macro>>(); }
  const Method* method() const { return pointee<std::shared_ptr<const Method>>(); }
  Namespace* name_space() const { return pointee<std::shared_ptr<Namespace>>(); }
  const Kind& kind() const { return kind_; }

 private:
  template <class Pointer>
  typename Pointer::element_type* pointee() const {
    const Pointer* pointer = get<Pointer>();
    return pointer ? pointer->get() : nullptr;
  }
  Kind kind_;
};

/// A list or a tuple. `depth` counts the containers inside of each other.
struct List {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;
};

/// In the order of insertion. Templates' dictionaries are small: lookup is a linear search.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;
  const Value* find(std::string_view key) const;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> items;
  Value* find(std::string_view name);
};

/// The variable `loop` of a for.
struct Loop {
  std::shared_ptr<const List> items;
  size_t index = 0;
};

/// A boolean counts as 0 or 1. False: not an integer.
bool to_integer(const Value& value, int64_t& out);
/// Integers too.
bool to_real(const Value& value, double& out);
bool is_true(const Value& value);
/// Python's name of the value's type: "str", "NoneType".
const char* type_name(const Value& value);
/// Values inside of each other, as far as freeing one frees the next.
int depth_of(const Value& value);

}  // namespace octet::jinja
