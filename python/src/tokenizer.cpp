#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>
#include <octet/tokenizer.h>

#include "bindings.h"

using octet::Tokenizer;

void bind_tokenizer(nb::module_& m) {
  const auto released = nb::call_guard<nb::gil_scoped_release>();
  nb::class_<Tokenizer>(m, "Tokenizer", "Text to token ids and back; for any thread.")
      .def(
          "__init__",
          [](Tokenizer* self, const std::filesystem::path& path) {
            new (self) Tokenizer(Tokenizer::open(path.string()));
          },
          nb::arg("path"), released,
          "path: a tokenizer.json, a directory that holds one, a GGUF file, a sentencepiece "
          ".model,\n"
          "or a converted octet file.")
      .def(
          "encode",
          [](const Tokenizer& self, const std::string& text, bool add_bos, bool parse_special) {
            return self.encode(text, {add_bos, parse_special});
          },
          nb::arg("text"), nb::arg("add_bos") = false, nb::arg("parse_special") = true, released,
          "The ids of a text. add_bos: put the beginning-of-text token first, where the model has\n"
          "one. parse_special: text that spells an added token becomes that token; False for text\n"
          "from users.")
      .def(
          "decode",
          [](const Tokenizer& self, const std::vector<int32_t>& ids, bool keep_special) {
            return self.decode(ids, {keep_special});
          },
          nb::arg("ids"), nb::arg("keep_special") = true, released,
          "The text of ids; bytes that are not UTF-8 become U+FFFD.")
      .def("__len__", &Tokenizer::size, "The number of ids that may have text.")
      .def("find", &Tokenizer::find, nb::arg("token"),
           "The id of a token by its text, such as \"<|im_end|>\"; -1: there is no such token.")
      .def("is_special", &Tokenizer::is_special, nb::arg("id"),
           "Whether an id is a control token such as <|im_end|>.")
      .def_prop_ro("bos_id", &Tokenizer::bos_id, "-1 where the model has none.");
}
