#pragma once
// Variables, and the value of an expression.
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "lib/text/jinja_ast.h"

namespace octet::jinja {

/// Variables of a block, and the block around it.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::unordered_map<std::string_view, Value> variables;  // the names are the program's
};

/// A macro sees the variables of where it was defined.
struct Macro {
  const MacroDefinition* definition;
  std::shared_ptr<Scope> scope;
};

class Evaluator {
 public:
  Value evaluate(const Expr& expr);
  /// Runs a macro: its text.
  virtual Value call_macro(const Macro& macro, Arguments args) = 0;

 protected:
  /// Evaluations and blocks inside of each other, those of macros that call macros included.
  class Depth {
   public:
    explicit Depth(Evaluator& evaluator);
    ~Depth() { --evaluator_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    Evaluator& evaluator_;
  };

  explicit Evaluator(std::shared_ptr<Scope> globals) : scope_(std::move(globals)) {}
  virtual ~Evaluator() = default;

  const Value* find_variable(std::string_view name);
  Arguments arguments(const CallArguments& args);
  Value call_value(const Call& call, Arguments args);
  /// Applies a chain of filters to the text of a block.
  Value filter_text(const Expr& chain, const Value& text);

  Runtime rt_;
  std::shared_ptr<Scope> scope_;

 private:
  Value value_of(const Constant& constant) { return constant.value; }
  Value value_of(const Name& name);
  Value value_of(const ListDisplay& list);
  Value value_of(const DictDisplay& dict);
  Value value_of(const Not& negation);
  Value value_of(const Sign& sign);
  Value value_of(const Binary& binary);
  Value value_of(const Concat& concat);
  Value value_of(const Compare& compare);
  Value value_of(const Logic& logic);
  Value value_of(const Conditional& conditional);
  Value value_of(const Attribute& attribute);
  Value value_of(const Subscript& subscript);
  Value value_of(const Slice& slice);
  Value value_of(const Call& call);
  Value value_of(const Filter& filter);
  Value value_of(const Test& test);
  bool holds(Comparison op, const Value& left, const Value& right);

  int depth_ = 0;
};

}  // namespace octet::jinja
