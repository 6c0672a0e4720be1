#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <octet/device.h>
#include <octet/quant.h>

#include "bindings.h"
#include "progress.h"

using namespace octet;

namespace {

Calibrate parse_calibration(const std::string& name) {
  if (name == "builtin") return Calibrate::builtin;
  if (name == "off") return Calibrate::off;
  throw nb::value_error("calibration: 'builtin' or 'off' expected");
}

ConvertReport convert_file(const std::filesystem::path& source, const std::filesystem::path& output,
                           const std::string& scheme, const std::string& rotation,
                           const std::string& mixed, const std::string& calibration,
                           const std::optional<std::string>& calibration_text, int threads,
                           const nb::object& progress) {
  ConvertOptions options;
  options.scheme = parse_scheme(scheme);
  options.rotation = parse_rotation(rotation);
  options.mixed = mixed;
  options.calibration = calibration_text ? Calibrate::text : parse_calibration(calibration);
  options.calibration_text = calibration_text.value_or("");
  options.threads = threads;
  return PythonProgress(progress).run(
      [&](Progress to) { return convert(source.string(), output.string(), options, to); });
}

}  // namespace

void bind_convert(nb::module_& m) {
  nb::class_<ConvertReport>(m, "ConvertReport", "What a conversion did.")
      .def_ro("tensors", &ConvertReport::tensors)
      .def_ro("input_weights", &ConvertReport::input_weights, "Numbers read.")
      .def_ro("calibration_tokens", &ConvertReport::calibration_tokens, "0: rounded to nearest.")
      .def_ro("output_bytes", &ConvertReport::output_bytes)
      .def_ro("seconds", &ConvertReport::seconds);
  m.def("convert", &convert_file, nb::arg("source"), nb::arg("output"), nb::kw_only(),
        nb::arg("scheme") = "w8a8", nb::arg("rotation") = "auto", nb::arg("mixed") = default_mixed,
        nb::arg("calibration") = "builtin", nb::arg("calibration_text") = nb::none(),
        nb::arg("threads") = 0, nb::arg("progress") = nb::none(),
        nb::sig("def convert(source: str | PathLike[str], output: str | PathLike[str], *, "
                "scheme: Literal['w8a8', 'w8a8-g128', 'f16', 'f32'] = 'w8a8', "
                "rotation: Literal['auto', 'off', 'on'] = 'auto', mixed: str = 'k,v', "
                "calibration: Literal['builtin', 'off'] = 'builtin', "
                "calibration_text: str | None = None, threads: int = 0, "
                "progress: Callable[[int, int], bool | None] | None = None) -> ConvertReport"),
        "Reads a checkpoint (a Hugging Face directory, a .safetensors, a .gguf) and writes it as "
        "one\n"
        "octet file, whole or not at all. calibration_text takes the place of octet's own.\n"
        "progress(done, total) may return False, which cancels.");

  nb::class_<DeviceInfo>(m, "DeviceInfo", "Something a model can run on.")
      .def_ro("name", &DeviceInfo::name, "As Model takes it.")
      .def_ro("description", &DeviceInfo::description)
      .def_ro("threads", &DeviceInfo::threads)
      .def_ro("memory_bytes", &DeviceInfo::memory_bytes)
      .def_ro("instruction_sets", &DeviceInfo::instruction_sets)
      .def_ro("selected", &DeviceInfo::selected, "The instruction set that is used.");
  m.def("devices", &devices, nb::call_guard<nb::gil_scoped_release>(),
        "Everything a model can run on here.");
}
