#pragma once
#include <octet/cancel.h>

namespace octet::tools {

/// From now on SIGINT, SIGTERM and SIGHUP cancel the token instead of ending the process, so that
/// what is half written can be removed; a second one of the same number ends it at once.
const CancelToken& cancel_on_signal();

/// Whether such a signal has come.
bool interrupted();

/// Ends the process by that signal, as a shell expects it of an interrupted program; returns if
/// none has come.
void end_if_interrupted();

}  // namespace octet::tools
