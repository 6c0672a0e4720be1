#pragma once
// A parsed template.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "lib/text/jinja_builtins.h"
#include "lib/text/jinja_operators.h"
#include "lib/text/jinja_value.h"

namespace octet::jinja {

// --- expressions ------------------------------------------------------------------------------

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;
enum class Comparison { eq, ne, lt, le, gt, ge, in, not_in };

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct ListDisplay {
  std::vector<ExprPtr> items;
  bool tuple;
};
struct DictDisplay {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};
struct Not {
  ExprPtr operand;
};
struct Sign {
  ExprPtr operand;
  bool minus;
};
struct Binary {
  Arithmetic op;
  ExprPtr left, right;
};
struct Concat {
  std::vector<ExprPtr> parts;
};
struct Compare {
  ExprPtr first;
  std::vector<std::pair<Comparison, ExprPtr>> rest;
};
struct Logic {
  bool is_and;
  ExprPtr left, right;
};
struct Conditional {
  ExprPtr condition, then, otherwise;  ///< otherwise may be null
};
struct Attribute {
  ExprPtr object;
  std::string name;
};
struct Subscript {
  ExprPtr object, index;
};
struct Slice {
  ExprPtr object, start, stop, step;  ///< the bounds may be null
};
struct Call {
  ExprPtr callee;
  CallArguments args;
};
struct Filter {
  ExprPtr operand;  ///< null for the text of a block
  const Builtin* builtin;
  CallArguments args;
};
struct Test {
  ExprPtr operand;
  const Builtin* builtin;
  CallArguments args;
  bool negated;
};

struct Expr {
  using What =
      std::variant<Constant, Name, ListDisplay, DictDisplay, Not, Sign, Binary, Concat, Compare,
                   Logic, Conditional, Attribute, Subscript, Slice, Call, Filter, Test>;
  int line;
  int height;  ///< expressions inside of each other, this one included
  What what;
};

// --- statements -------------------------------------------------------------------------------

struct Statement;
using Block = std::vector<Statement>;

/// What set and for assign to: a name, an attribute of a namespace, or several of them.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;
};

struct Text {
  std::string text;
};
struct Output {
  ExprPtr value;
};
struct If {
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
};
struct For {
  Target target;
  ExprPtr items, condition;  ///< condition may be null
  Block body, otherwise;
};
struct Set {
  Target target;
  ExprPtr value;
};
struct SetBlock {
  Target target;
  ExprPtr filters;  ///< a chain of Filter, or null
  Block body;
};
struct FilterBlock {
  ExprPtr filters;
  Block body;
};
struct MacroDefinition {
  std::string name;
  std::vector<std::pair<std::string, ExprPtr>> parameters;  ///< and defaults, or null
  Block body;
};
struct CallBlock {
  ExprPtr call;
  MacroDefinition caller;
};
struct With {
  std::vector<std::pair<Target, ExprPtr>> variables;
  Block body;
};
struct Break {};
struct Continue {};

struct Statement {
  using What = std::variant<Text, Output, If, For, Set, SetBlock, FilterBlock, MacroDefinition,
                            CallBlock, With, Break, Continue>;
  int line;
  What what;
};

}  // namespace octet::jinja
