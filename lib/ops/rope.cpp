// Rotary position embedding.
#include <octet/ops.h>

#include "lib/core/cpu.h"
#include "lib/core/error.h"
#include "lib/model/rope.h"
#include "lib/ops/operands.h"

namespace octet::ops {

void rope_table(TensorView<const int64_t, 1> positions, double theta, TensorView<float, 2> cos,
                TensorView<float, 2> sin) {
  constexpr const char* op = "rope_table";
  const Operand in("positions", positions), cosines("cos", cos), sines("sin", sin);
  check_same(op, in, 0, cosines, 0);
  check_same_shape(op, cosines, sines);
  require(theta > 0, ErrorCode::InvalidArgument, op, ": theta is ", theta, ", expected above 0");
  check_contiguous_rows(op, {in, cosines, sines});
  check_apart(op, cosines, {in, sines});
  check_apart(op, sines, {in});
  if (cos.size() == 0) return;
  ModelConfig config;  // without scaling, all that its frequencies depend on
  config.head_dim = 2 * cos.shape()[1];
  config.rope_theta = theta;
  const Rope table = make_rope(config, 0);
  for (int64_t token = 0; token < positions.shape()[0]; ++token)
    table.angles(positions(token), &cos(token, 0), &sin(token, 0));
}

void rope(TensorView<const float, 2> cos, TensorView<const float, 2> sin, TensorView<float, 3> x) {
  constexpr const char* op = "rope";
  const Operand cosines("cos", cos), sines("sin", sin), out("x", x);
  const auto [tokens, heads, head_dim] = x.shape();
  require(head_dim % 2 == 0, ErrorCode::InvalidArgument, op, ": dimension 2 of ", out.text(),
          " is ", head_dim, ", expected an even number");
  check_same_shape(op, cosines, sines);
  check_same(op, out, 0, cosines, 0);
  check_extent(op, cosines, 1, head_dim / 2, "half of dimension 2 of x");
  check_contiguous_rows(op, {cosines, sines, out});
  check_apart(op, out, {cosines, sines});
  if (x.size() == 0) return;
  const auto kernel = active_kernels().rope_f32;
  for (int64_t token = 0; token < tokens; ++token)
    for (int64_t head = 0; head < heads; ++head)
      kernel(&x(token, head, 0), &cos(token, 0), &sin(token, 0), head_dim);
}

}  // namespace octet::ops
