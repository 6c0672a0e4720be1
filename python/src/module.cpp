#include "bindings.h"

NB_MODULE(_octet, m) {
  m.attr("__version__") = OCTET_VERSION;
  bind_errors(m);
  bind_tokenizer(m);
  bind_model(m);
  bind_generate(m);
  bind_session(m);
  bind_engine(m);
  bind_convert(m);
}
