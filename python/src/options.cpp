#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string_view>

#include "bindings.h"

using namespace octet;

namespace {

struct Option {
  std::string_view name;
  void (*set)(GenerateOptions& options, nb::handle value);
};

template <auto Member>
void set_option(GenerateOptions& options, nb::handle value) {
  auto& to = options.*Member;
  to = nb::cast<std::remove_reference_t<decltype(to)>>(value);
}
template <auto Member>
void set_sampler(GenerateOptions& options, nb::handle value) {
  auto& to = options.sampler.*Member;
  to = nb::cast<std::remove_reference_t<decltype(to)>>(value);
}

template <auto Member>
void set_think(GenerateOptions& options, nb::handle value) {
  auto& to = options.think.*Member;
  to = nb::cast<std::remove_reference_t<decltype(to)>>(value);
}

/// A dict, or JSON.
void set_json_schema(GenerateOptions& options, nb::handle value) {
  const nb::object json = nb::isinstance<nb::dict>(value)
                              ? nb::module_::import_("json").attr("dumps")(value)
                              : nb::borrow(value);
  options.constraint = Constraint::json_schema(nb::cast<std::string>(json));
}
void set_regex(GenerateOptions& options, nb::handle value) {
  options.constraint = Constraint::regex(nb::cast<std::string>(value));
}

constexpr Option table[] = {
    {"max_tokens", set_option<&GenerateOptions::max_tokens>},
    {"stop", set_option<&GenerateOptions::stop>},
    {"stop_at_end_tokens", set_option<&GenerateOptions::stop_at_end_tokens>},
    {"lookup", set_option<&GenerateOptions::lookup>},
    {"logprobs", set_option<&GenerateOptions::logprobs>},
    {"cancel", set_option<&GenerateOptions::cancel>},
    {"json_schema", set_json_schema},
    {"regex", set_regex},
    {"separate_reasoning", set_think<&ThinkBudget::separate>},
    {"max_reasoning_tokens", set_think<&ThinkBudget::max_tokens>},
    {"temperature", set_sampler<&SamplerOptions::temperature>},
    {"top_k", set_sampler<&SamplerOptions::top_k>},
    {"top_p", set_sampler<&SamplerOptions::top_p>},
    {"min_p", set_sampler<&SamplerOptions::min_p>},
    {"repetition_penalty", set_sampler<&SamplerOptions::repetition_penalty>},
    {"presence_penalty", set_sampler<&SamplerOptions::presence_penalty>},
    {"frequency_penalty", set_sampler<&SamplerOptions::frequency_penalty>},
    {"seed", set_sampler<&SamplerOptions::seed>},
};

const Option& find_option(const std::string& name) {
  for (const Option& option : table)
    if (option.name == name) return option;
  throw nb::type_error(("there is no option named '" + name + "'").c_str());
}

}  // namespace

GenerateOptions generate_options(const Model& model, const nb::kwargs& given) {
  GenerateOptions options = default_options(model);
  if (given.contains("json_schema") && given.contains("regex"))
    throw nb::type_error("json_schema and regex: one of them expected");
  for (const auto& [key, value] : given) {
    const auto name = nb::cast<std::string>(key);
    const Option& option = find_option(name);
    try {
      option.set(options, value);
    } catch (const nb::cast_error&) {
      throw nb::type_error(
          (name + ": " + nb::cast<std::string>(nb::repr(value)) + " is of a wrong type").c_str());
    }
  }
  return options;
}

std::vector<ChatMessage> chat_messages(const nb::list& messages) {
  std::vector<ChatMessage> turns;
  for (nb::handle message : messages)
    turns.push_back(
        {nb::cast<std::string>(message["role"]), nb::cast<std::string>(message["content"])});
  return turns;
}

nb::list message_list(const std::vector<ChatMessage>& messages) {
  nb::list list;
  for (const ChatMessage& message : messages) {
    nb::dict turn;
    turn["role"] = message.role;
    turn["content"] = message.content;
    list.append(turn);
  }
  return list;
}
