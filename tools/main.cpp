// The octet command. Exit status: 0 done, 1 failed, 2 wrong usage.
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>

#include "common.h"
#include "interrupt.h"

namespace {

int fail(const char* code, const char* message) {
  std::fprintf(stderr, "octet: error: %s: %s\n", code, message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace octet::tools;
  CLI::App app("octet: INT8 inference for the Qwen 1.5B family", "octet");
  app.require_subcommand(1);
  app.set_version_flag("--version", OCTET_VERSION);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return std::string("octet: error: InvalidArgument: ") + error.what() +
           "\nRun with --help for more information.\n";
  });
  for (auto add : {add_convert, add_export, add_run, add_chat, add_logits, add_tokenize,
                   add_template, add_eval, add_bench, add_inspect, add_devices})
    add(app);
#if OCTET_SERVER
  add_serve(app);
#endif
  try {
    app.parse(argc, argv);  // runs the subcommand
    std::cout.flush();
    return std::cout ? 0 : fail("Io", "cannot write to standard output");
  } catch (const CLI::ParseError& error) {
    // CLI11 misses the subcommand and does not say what stands in its place.
    const std::vector<std::string> unknown = app.remaining();
    if (app.get_subcommands().empty() && !unknown.empty())
      return app.exit(CLI::ExtrasError(unknown)), 2;
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const octet::Error& error) {
    if (error.code() == octet::ErrorCode::Cancelled) end_if_interrupted();
    return fail(to_string(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail("OutOfMemory", "not enough memory");
  } catch (const std::exception& error) {
    return fail("Internal", error.what());
  }
}
