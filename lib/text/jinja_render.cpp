#include "lib/text/jinja_render.h"

#include "lib/text/jinja_evaluator.h"
#include "lib/text/jinja_print.h"

namespace octet::jinja {
namespace {

class Renderer final : Evaluator {
 public:
  explicit Renderer(std::shared_ptr<Scope> globals) : Evaluator(std::move(globals)) {}
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  /// Macros hold their scope and scopes hold macros: emptying the scopes frees both.
  ~Renderer() override {
    for (const std::shared_ptr<Scope>& scope : macro_scopes_) scope->variables.clear();
  }

  std::string run(const Block& program) {
    execute(program);
    return std::move(out_);
  }

 private:
  /// How a block was left.
  enum class Flow { next, break_loop, continue_loop };

  /// Variables set while it lives are gone afterwards.
  class InnerScope {
   public:
    InnerScope(Renderer& renderer, std::shared_ptr<Scope> parent)
        : renderer_(renderer), outer_(renderer.scope_) {
      renderer.scope_ = std::make_shared<Scope>(Scope{std::move(parent), {}});
    }
    explicit InnerScope(Renderer& renderer) : InnerScope(renderer, renderer.scope_) {}
    ~InnerScope() { renderer_.scope_ = std::move(outer_); }
    InnerScope(const InnerScope&) = delete;
    InnerScope& operator=(const InnerScope&) = delete;

   private:
    Renderer& renderer_;
    std::shared_ptr<Scope> outer_;
  };

  /// What is put out while it lives goes into text().
  class Capture {
   public:
    explicit Capture(Renderer& renderer) : renderer_(renderer) { outer_.swap(renderer.out_); }
    ~Capture() { outer_.swap(renderer_.out_); }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    Value text() { return renderer_.rt_.text(std::move(renderer_.out_)); }

   private:
    Renderer& renderer_;
    std::string outer_;
  };

  Flow execute(const Block& block) {
    const Depth depth(*this);
    for (const Statement& statement : block) {
      rt_.work();
      rt_.line = statement.line;
      const Flow flow = std::visit([this](const auto& what) { return run(what); }, statement.what);
      if (flow != Flow::next) return flow;
    }
    return Flow::next;
  }

  Flow run(const Text& text) {
    rt_.read(text.text.size());
    out_ += text.text;
    rt_.check_text(out_.size());
    return Flow::next;
  }

  Flow run(const Output& output) {
    print(rt_, evaluate(*output.value), out_);
    return Flow::next;
  }

  Flow run(const If& statement) {
    for (const auto& [condition, body] : statement.branches) {
      if (is_true(evaluate(*condition))) return execute(body);
    }
    return execute(statement.otherwise);
  }

  /// The elements that the condition of a for lets through.
  std::shared_ptr<const List> selected(const For& loop) {
    std::shared_ptr<const List> all = iterate(rt_, evaluate(*loop.items));
    if (!loop.condition) return all;
    std::vector<Value> items;
    for (const Value& item : all->items) {
      const InnerScope scope(*this);
      assign(loop.target, item);
      if (is_true(evaluate(*loop.condition))) items.push_back(item);
    }
    return *rt_.list(std::move(items)).get<std::shared_ptr<const List>>();
  }

  Flow run(const For& loop) {
    const std::shared_ptr<const List> items = selected(loop);
    if (items->items.empty()) {
      const InnerScope scope(*this);
      return execute(loop.otherwise);
    }
    const auto state = std::make_shared<Loop>(Loop{items});
    Flow flow = Flow::next;
    for (; state->index < items->items.size() && flow != Flow::break_loop; ++state->index) {
      const InnerScope scope(*this);
      rt_.work(2);
      assign(loop.target, items->items[state->index]);
      scope_->variables["loop"] = Value(Value::Kind(std::shared_ptr<const Loop>(state)));
      flow = execute(loop.body);
    }
    return Flow::next;
  }

  Flow run(const Set& set) {
    assign(set.target, evaluate(*set.value));
    return Flow::next;
  }

  /// Runs a block whose text is wanted as a value.
  Flow capture(const Block& body, Value& text) {
    Capture captured(*this);
    const InnerScope scope(*this);
    const Flow flow = execute(body);
    text = captured.text();
    return flow;
  }

  Flow run(const SetBlock& set) {
    Value text;
    const Flow flow = capture(set.body, text);
    if (flow != Flow::next) return flow;
    assign(set.target, set.filters ? filter_text(*set.filters, text) : text);
    return Flow::next;
  }

  Flow run(const FilterBlock& filter) {
    Value text;
    const Flow flow = capture(filter.body, text);
    if (flow == Flow::next) print(rt_, filter_text(*filter.filters, text), out_);
    return flow;
  }

  Flow run(const MacroDefinition& definition) {
    set_variable(definition.name, make_macro(definition));
    return Flow::next;
  }

  Flow run(const CallBlock& block) {
    const auto& call = std::get<Call>(block.call->what);
    Arguments args = arguments(call.args);
    args.named.emplace_back("caller", make_macro(block.caller));
    print(rt_, call_value(call, std::move(args)), out_);
    return Flow::next;
  }

  Flow run(const With& with) {
    std::vector<Value> values;
    for (const auto& [target, value] : with.variables) values.push_back(evaluate(*value));
    const InnerScope scope(*this);
    for (size_t i = 0; i < values.size(); ++i) assign(with.variables[i].first, values[i]);
    return execute(with.body);
  }

  Flow run(const Break&) { return Flow::break_loop; }
  Flow run(const Continue&) { return Flow::continue_loop; }

  void set_variable(std::string_view name, Value value) {
    rt_.work();
    scope_->variables[name] = std::move(value);
  }

  void assign(const Target& target, const Value& value) {
    if (!target.parts.empty()) return unpack(target, value);
    if (target.attribute.empty()) return set_variable(target.name, value);
    const Value* variable = find_variable(target.name);
    Namespace* space = variable ? variable->name_space() : nullptr;
    if (!space) rt_.fail("'", target.name, "' is no namespace");
    rt_.work(space->items.size() / 8);
    if (Value* old = space->find(target.attribute)) {
      *old = value;
    } else {
      space->items.emplace_back(target.attribute, value);
    }
  }

  void unpack(const Target& target, const Value& value) {
    const std::shared_ptr<const List> values = iterate(rt_, value);
    if (values->items.size() != target.parts.size()) {
      rt_.fail(values->items.size(), " values for ", target.parts.size(), " variables");
    }
    for (size_t i = 0; i < target.parts.size(); ++i) assign(target.parts[i], values->items[i]);
  }

  Value make_macro(const MacroDefinition& definition) {
    rt_.work(16);
    if (macro_scopes_.empty() || macro_scopes_.back() != scope_) macro_scopes_.push_back(scope_);
    return Value(Value::Kind(std::make_shared<const Macro>(Macro{&definition, scope_})));
  }

  Value call_macro(const Macro& macro, Arguments args) override {
    const Depth depth(*this);
    rt_.work(4);
    const InnerScope scope(*this, macro.scope);
    bind(*macro.definition, args);
    Capture captured(*this);
    execute(macro.definition->body);
    return captured.text();
  }

  void bind(const MacroDefinition& definition, Arguments& args) {
    for (const auto& [name, otherwise] : definition.parameters) {
      if (const Value* value = args.next(name)) {
        set_variable(name, *value);
      } else if (otherwise) {
        set_variable(name, evaluate(*otherwise));
      } else {
        set_variable(name, Value::undefined(str("the parameter '", name, "' was not given")));
      }
    }
    if (const Value* caller = args.next_named("caller")) set_variable("caller", *caller);
    args.finish(rt_, definition.name);
  }

  std::string out_;
  std::vector<std::shared_ptr<Scope>> macro_scopes_;
};

}  // namespace

std::string render(const Block& program, std::vector<std::pair<std::string, Value>> variables) {
  const auto globals = std::make_shared<Scope>();
  for (const auto& [name, value] : variables) globals->variables[name] = value;
  // Templates may set these names, so the program runs in a scope of its own.
  return Renderer(std::make_shared<Scope>(Scope{globals, {}})).run(program);
}

}  // namespace octet::jinja
