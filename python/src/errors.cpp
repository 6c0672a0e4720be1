#include <octet/error.h>

#include "bindings.h"

namespace {

PyObject* error_type;

/// octet.Error with the message, and the code as its attribute `code`.
void raise(const octet::Error& error) {
  nb::object instance = nb::borrow(error_type)(error.what());
  instance.attr("code") = nb::cast(error.code());
  PyErr_SetObject(error_type, instance.ptr());
}

}  // namespace

void bind_errors(nb::module_& m) {
  using octet::ErrorCode;
  nb::enum_<ErrorCode>(m, "ErrorCode", "What kind of failure an Error reports.")
      .value("InvalidFile", ErrorCode::InvalidFile, "A file's content breaks its format.")
      .value("Unsupported", ErrorCode::Unsupported, "Well formed, but octet does not know it.")
      .value("OutOfMemory", ErrorCode::OutOfMemory, "Memory that was asked for is not there.")
      .value("InvalidArgument", ErrorCode::InvalidArgument, "A value from the caller.")
      .value("Cancelled", ErrorCode::Cancelled, "Stopped on request.")
      .value("Device", ErrorCode::Device, "A device is missing or failed.")
      .value("Io", ErrorCode::Io, "The operating system refused to read or write.")
      .value("Internal", ErrorCode::Internal, "A defect in octet.")
      .value("Busy", ErrorCode::Busy, "No place in a queue now; later there may be one.");

  error_type = PyErr_NewExceptionWithDoc(
      "octet.Error", "What octet raises: `code`, and a message that names what disagrees.", nullptr,
      nullptr);
  if (!error_type) throw nb::python_error();
  m.attr("Error") = nb::borrow(error_type);
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const octet::Error& error) {
      raise(error);
    }
  });
}
