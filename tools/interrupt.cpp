#include "interrupt.h"

#include <csignal>
#include <initializer_list>

namespace octet::tools {
namespace {

// Made before a handler can run, which only sets the token's flag.
CancelToken token;
volatile std::sig_atomic_t received = 0;

void cancel(int signal) {
  received = signal;
  token.cancel();
}

}  // namespace

const CancelToken& cancel_on_signal() {
  token = CancelToken::make();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;  // as nohup, or a shell's job in the background
    action.sa_handler = cancel;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(signal, &action, nullptr);
  }
  return token;
}

bool interrupted() {
  return token.cancelled();
}

void end_if_interrupted() {
  if (!interrupted()) return;
  std::signal(received, SIG_DFL);
  std::raise(received);
}

}  // namespace octet::tools
