#pragma once
// The parts of the module _octet, one file each, in the order in which module.cpp calls them.
#include <nanobind/nanobind.h>
#include <octet/session.h>

#include <optional>
#include <string>

namespace nb = nanobind;

void bind_errors(nb::module_& m);
void bind_tokenizer(nb::module_& m);
void bind_model(nb::module_& m);
void bind_generate(nb::module_& m);
void bind_session(nb::module_& m);
void bind_engine(nb::module_& m);
void bind_convert(nb::module_& m);

/// Keyword arguments over the model's defaults: octet/_options.py lists them.
/// Errors: TypeError for a name that is none of them, or a value of another type.
octet::GenerateOptions generate_options(const octet::Model& model, const nb::kwargs& options);

/// A list of {"role": ..., "content": ...}. Errors: TypeError, KeyError.
std::vector<octet::ChatMessage> chat_messages(const nb::list& messages);
nb::list message_list(const std::vector<octet::ChatMessage>& messages);

/// What __next__ gives.
inline std::string piece_or_stop(std::optional<std::string> piece) {
  if (!piece) throw nb::stop_iteration();
  return *std::move(piece);
}
