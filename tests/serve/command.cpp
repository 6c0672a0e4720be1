// What `octet serve` says before it serves.
#include "support/command.h"

#include <doctest/doctest.h>

#include "support/fixtures.h"
#include "support/text_model.h"
#include "tools/serve/socket.h"

using namespace octet::testing;

TEST_CASE("serve has help with an example; wrong usage is status 2, failures are status 1") {
  const CommandResult help = run_octet({"serve", "--help"});
  CHECK(help.status == 0);
  CHECK(help.out.find("Example: octet serve") != std::string::npos);
  const TempDir folder;
  make_text_model("tiny-qwen2", folder.path("m"));
  const auto serve = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"serve", folder.path("m"), "--threads", "1"});
    return run_octet(options);
  };
  CHECK(serve({"--port", "65536"}).status == 2);
  CHECK(serve({"--log-format", "xml"}).status == 2);

  const CommandResult keys = serve({"--api-key-file", folder.path("none")});
  CHECK(keys.status == 1);
  CHECK(keys.err.find("octet: error: Io: " + folder.path("none")) == 0);
  const CommandResult host = serve({"--host", "no such host"});
  CHECK(host.status == 1);
  CHECK(host.err.find("octet: error: InvalidArgument: host 'no such host'") == 0);
  const CommandResult open = serve({"--host", "0.0.0.0", "--port", "0"});
  CHECK(open.status == 1);
  CHECK(open.err.find("--api-key-file") != std::string::npos);
  CHECK(open.out.empty());

  const octet::serve::Descriptor taken = octet::serve::listen_on("127.0.0.1", 0);
  const std::string port = std::to_string(octet::serve::local_port(taken.get()));
  const CommandResult twice = serve({"--port", port});
  CHECK(twice.status == 1);
  CHECK(twice.err.find("octet: error: Io: cannot listen on 127.0.0.1 port " + port) == 0);
}

TEST_CASE("a model without a tokenizer cannot be served, and the error says so") {
  const CommandResult result = run_octet({"serve", fixture("tiny-qwen2"), "--threads", "1"});
  CHECK(result.status == 1);
  CHECK(result.err.find("octet: error: Unsupported: ") == 0);
}
