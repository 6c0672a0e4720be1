#include "lib/text/jinja_evaluator.h"

#include "lib/text/jinja_print.h"

namespace octet::jinja {
namespace {

constexpr int max_depth = 1000;

}  // namespace

Evaluator::Depth::Depth(Evaluator& evaluator) : evaluator_(evaluator) {
  if (evaluator.depth_ == max_depth) evaluator.rt_.fail("macros call each other too deeply");
  ++evaluator.depth_;
}

const Value* Evaluator::find_variable(std::string_view name) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    const auto found = scope->variables.find(name);
    if (found != scope->variables.end()) return &found->second;
  }
  return nullptr;
}

Value Evaluator::evaluate(const Expr& expr) {
  const Depth depth(*this);
  rt_.work();
  rt_.line = expr.line;
  return std::visit([this](const auto& what) { return value_of(what); }, expr.what);
}

Value Evaluator::value_of(const Name& name) {
  if (const Value* value = find_variable(name.name)) return *value;
  if (const Builtin* function = find_function(name.name)) {
    return Value(Value::Kind(std::make_shared<const Method>(Method{function, {}})));
  }
  return Value::undefined(str("'", name.name, "' is undefined"));
}

Value Evaluator::value_of(const ListDisplay& list) {
  std::vector<Value> items;
  for (const ExprPtr& item : list.items) items.push_back(evaluate(*item));
  return rt_.list(std::move(items), list.tuple);
}

Value Evaluator::value_of(const DictDisplay& dict) {
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key_expr, value_expr] : dict.items) {
    Value key = evaluate(*key_expr);
    Value value = evaluate(*value_expr);
    set_key(rt_, items, std::move(key), std::move(value));
  }
  return rt_.dict(std::move(items));
}

Value Evaluator::value_of(const Not& negation) {
  return Value::boolean(!is_true(evaluate(*negation.operand)));
}

Value Evaluator::value_of(const Sign& sign) {
  const Value value = evaluate(*sign.operand);
  if (sign.minus) return negate(rt_, value);
  return calculate(rt_, Arithmetic::add, Value::integer(0), value);
}

Value Evaluator::value_of(const Binary& binary) {
  const int line = rt_.line;
  const Value left = evaluate(*binary.left);
  const Value right = evaluate(*binary.right);
  rt_.line = line;
  return calculate(rt_, binary.op, left, right);
}

Value Evaluator::value_of(const Concat& concat) {
  std::string text;
  for (const ExprPtr& part : concat.parts) print(rt_, evaluate(*part), text);
  return rt_.text(std::move(text));
}

bool Evaluator::holds(Comparison op, const Value& left, const Value& right) {
  switch (op) {
    case Comparison::eq:
      return equal(rt_, left, right);
    case Comparison::ne:
      return !equal(rt_, left, right);
    case Comparison::lt:
      return order(rt_, left, right) < 0;
    case Comparison::le:
      return order(rt_, left, right) <= 0;
    case Comparison::gt:
      return order(rt_, left, right) > 0;
    case Comparison::ge:
      return order(rt_, left, right) >= 0;
    case Comparison::in:
      return contains(rt_, right, left);
    case Comparison::not_in:
      return !contains(rt_, right, left);
  }
  return false;
}

Value Evaluator::value_of(const Compare& compare) {
  const int line = rt_.line;
  Value left = evaluate(*compare.first);
  for (const auto& [op, expr] : compare.rest) {
    Value right = evaluate(*expr);
    rt_.line = line;
    if (!holds(op, left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Evaluator::value_of(const Logic& logic) {
  Value left = evaluate(*logic.left);
  if (is_true(left) != logic.is_and) return left;
  return evaluate(*logic.right);
}

Value Evaluator::value_of(const Conditional& conditional) {
  if (is_true(evaluate(*conditional.condition))) return evaluate(*conditional.then);
  if (conditional.otherwise) return evaluate(*conditional.otherwise);
  return Value::undefined("the condition is false and there is no else");
}

Value Evaluator::value_of(const Attribute& attribute) {
  const int line = rt_.line;
  const Value object = evaluate(*attribute.object);
  rt_.line = line;
  return jinja::attribute(rt_, object, attribute.name);
}

Value Evaluator::value_of(const Subscript& subscript) {
  const int line = rt_.line;
  const Value object = evaluate(*subscript.object);
  const Value index = evaluate(*subscript.index);
  rt_.line = line;
  return jinja::subscript(rt_, object, index);
}

Value Evaluator::value_of(const Slice& slice) {
  const int line = rt_.line;
  const Value object = evaluate(*slice.object);
  const Value start = slice.start ? evaluate(*slice.start) : Value::none();
  const Value stop = slice.stop ? evaluate(*slice.stop) : Value::none();
  const Value step = slice.step ? evaluate(*slice.step) : Value::none();
  rt_.line = line;
  return jinja::slice(rt_, object, start, stop, step);
}

Arguments Evaluator::arguments(const CallArguments& args) {
  Arguments result;
  for (const ExprPtr& value : args.positional) result.positional.push_back(evaluate(*value));
  for (const auto& [name, value] : args.named) result.named.emplace_back(name, evaluate(*value));
  return result;
}

Value Evaluator::value_of(const Call& call) {
  return call_value(call, arguments(call.args));
}

Value Evaluator::call_value(const Call& call, Arguments args) {
  const int line = call.callee->line;
  const Value callee = evaluate(*call.callee);
  rt_.line = line;
  if (callee.macro()) return call_macro(*callee.macro(), std::move(args));
  if (const Method* method = callee.method()) {
    return jinja::call(rt_, *method->builtin, method->self, std::move(args));
  }
  if (const auto* attribute = std::get_if<Attribute>(&call.callee->what)) {
    if (callee.is_undefined()) rt_.unsupported("the method '", attribute->name, "' here");
  }
  if (const auto* name = std::get_if<Name>(&call.callee->what)) {
    if (callee.is_undefined()) rt_.unsupported("the function '", name->name, "'");
  }
  rt_.fail("a value of type ", type_name(callee), " is called");
}

Value Evaluator::value_of(const Filter& filter) {
  const int line = rt_.line;
  const Value operand = evaluate(*filter.operand);
  Arguments args = arguments(filter.args);
  rt_.line = line;
  return jinja::call(rt_, *filter.builtin, operand, std::move(args));
}

Value Evaluator::filter_text(const Expr& chain, const Value& text) {
  const Depth depth(*this);
  const auto& filter = std::get<Filter>(chain.what);
  const Value operand = filter.operand ? filter_text(*filter.operand, text) : text;
  Arguments args = arguments(filter.args);
  rt_.line = chain.line;
  return jinja::call(rt_, *filter.builtin, operand, std::move(args));
}

Value Evaluator::value_of(const Test& test) {
  const int line = rt_.line;
  const Value operand = evaluate(*test.operand);
  Arguments args = arguments(test.args);
  rt_.line = line;
  return Value::boolean(is_true(jinja::call(rt_, *test.builtin, operand, std::move(args))) !=
                        test.negated);
}

}  // namespace octet::jinja
