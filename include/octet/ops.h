#pragma once
/// The operations of a decoder on tensors, usable without a model. All of octet::ops:
/// - runs on the calling thread, on the fastest kernels of this CPU (OCTET_MAX_ISA lowers them;
///   naming an instruction set that is not there is an InvalidArgument error);
/// - writes its last argument (and what else it says it writes), which must not overlap another
///   unless the function says so, nor itself by its strides. Columns of one matrix may lie side by
///   side; other views between each other's rows count as overlapping;
/// - takes any strides, except that rows are contiguous: a stride of 1 in the last dimension;
/// - throws InvalidArgument, naming the operands, where shapes disagree (with both numbers), where
///   rows are not contiguous and where an output overlaps; nothing is written then;
/// - may throw OutOfMemory where it needs buffers: the int8 linear, quantize, attention, and the
///   products of matrices whose rows repeat or overlap.
#include <octet/export.h>
#include <octet/handle.h>
#include <octet/tensor.h>

#include <cstdint>

namespace OCTET_EXPORT octet {
namespace ops {

/// c = a b.
/// Shapes: a [m, k]; b [k, n]; c [m, n]. a and b may be transposed views (stride 1 in either
/// dimension).
/// Errors: InvalidArgument if a shape disagrees, or an extent or a stride is above 2^31 - 1.
/// Accuracy: fp32 accumulation in an order of OpenBLAS's choice. OpenBLAS may use threads of its
/// own, until a model is opened in this process: octet then sets their number to 1.
/// Source: BLAS sgemm.
void matmul(TensorView<const float, 2> a, TensorView<const float, 2> b, TensorView<float, 2> c);

/// y = x w^T + bias, row by row.
/// Shapes: x [rows, in]; w [out, in]; bias [out] or empty; y [rows, out]. x and w may be transposed
/// views.
/// Errors and accuracy: as matmul.
void linear(TensorView<const float, 2> x, TensorView<const float, 2> w,
            TensorView<const float, 1> bias, TensorView<float, 2> y);

/// Which numbers share a scale when a matrix is quantized.
enum class Scales {
  per_row,    ///< a row: an output channel, a token
  per_group,  ///< 128 neighbours of a row (the last group may be shorter)
};

struct QuantizedMatrixImpl;
void retain(QuantizedMatrixImpl*) noexcept;
void release(QuantizedMatrixImpl*) noexcept;

/// The int8 weights of a linear, packed for the kernels. Immutable; copies share the memory, and
/// any thread may use them.
class QuantizedMatrix {
 public:
  /// q = rint(w / scale), scale = absmax / 127 of its row or group, half to even; group scales
  /// are rounded up to bfloat16 first.
  /// Shapes: w [out, in], in <= 131072.
  /// Errors: InvalidArgument if a weight is not finite (naming its place) or in is too large;
  /// OutOfMemory.
  explicit QuantizedMatrix(TensorView<const float, 2> w, Scales scales = Scales::per_row);

  const Shape<2>& shape() const;  ///< [out, in]
  Scales scales() const;
  int64_t bytes() const;  ///< memory taken: weights, scales and sums

  /// w = q * scale. Shapes: w [out, in]. Accuracy: |w - original| <= scale / 2 and 1 ulp, for
  /// scales from 1.2e-38 (normal numbers) on.
  void dequantize(TensorView<float, 2> w) const;

  const Handle<QuantizedMatrixImpl>& impl() const { return impl_; }

 private:
  Handle<QuantizedMatrixImpl> impl_;
};

/// y = dequantized(quantized(x) w^T) + bias: each row of x is quantized as by quantize(), with
/// scales of the kind that w has, and multiplied in integers.
/// Shapes: x [rows, in]; w [out, in]; bias [out] or empty; y [rows, out].
/// Errors: InvalidArgument if a shape disagrees or a value of x is not finite (naming the row);
/// nothing is written then.
/// Accuracy: the integer part is exact; the result is the same bits on every instruction set, and
/// for each row whatever the other rows are.
void linear(TensorView<const float, 2> x, const QuantizedMatrix& w, TensorView<const float, 1> bias,
            TensorView<float, 2> y);

/// Writes q = rint(x * (127 / absmax)), half to even, and scale = absmax / 127. A row (or group)
/// whose absmax is 0, or below 3.8e-37 so that 127 / absmax is infinite, gives scale 0 and zeros.
/// Shapes: x, q [rows, cols]; scale [rows], or [rows, ceil(cols / 128)] for a scale a group of 128
/// along the row.
/// Errors: InvalidArgument if a shape disagrees or a value is not finite (naming the row; the rows
/// before it are written).
/// Accuracy: exact: the same bits on every instruction set.
void quantize(TensorView<const float, 2> x, TensorView<float, 1> scale, TensorView<int8_t, 2> q);
void quantize(TensorView<const float, 2> x, TensorView<float, 2> scale, TensorView<int8_t, 2> q);

/// x = q * scale; shapes as for quantize.
void dequantize(TensorView<const int8_t, 2> q, TensorView<const float, 1> scale,
                TensorView<float, 2> x);
void dequantize(TensorView<const int8_t, 2> q, TensorView<const float, 2> scale,
                TensorView<float, 2> x);

/// y = x / sqrt(mean(x^2) + eps) * w, row by row.
/// Shapes: x, y [rows, cols]; w [cols]. x and y may be the same memory.
/// Accuracy: 1e-6 of the exact value, relative.
/// Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
void rms_norm(TensorView<const float, 2> x, TensorView<const float, 1> w, float eps,
              TensorView<float, 2> y);

/// y = exp(x - max(x)) / sum(exp(x - max(x))), row by row.
/// Minus infinity gives 0; a row of nothing else gives NaN.
/// Shapes: x, y [rows, cols]. x and y may be the same memory.
/// Accuracy: 1e-6 + 2^-24 |x - max(x)| of the exact value, relative, above 1e-30.
void softmax(TensorView<const float, 2> x, TensorView<float, 2> y);

/// y = gate / (1 + exp(-gate)) * up.
/// Shapes: gate, up, y [rows, cols]. y may be the same memory as gate or up.
/// Accuracy: 1e-6 of the exact value, relative, above 1e-30.
/// Source: Shazeer 2020, arXiv:2002.05202, eq. 6.
void silu_mul(TensorView<const float, 2> gate, TensorView<const float, 2> up,
              TensorView<float, 2> y);

/// Writes cos and sin of position * theta^(-2 i / head_dim) for each pair i; the frequency and the
/// angle are rounded to fp32, as in the code that models were trained with. Shapes: positions
/// [tokens]; cos, sin [tokens, head_dim / 2]. Errors: InvalidArgument if a shape disagrees or theta
/// is not above 0. Source: Su et al. 2021, arXiv:2104.09864, section 3.2.2.
void rope_table(TensorView<const int64_t, 1> positions, double theta, TensorView<float, 2> cos,
                TensorView<float, 2> sin);

/// Rotates the pair (x[i], x[i + head_dim / 2]) of every head by its token's angle i, in place.
/// Shapes: x [tokens, heads, head_dim], head_dim even; cos, sin [tokens, head_dim / 2].
/// Accuracy: a rounding of each product and of their sum, in fp32.
/// Source: as rope_table; the pairing is that of Hugging Face's checkpoints.
void rope(TensorView<const float, 2> cos, TensorView<const float, 2> sin, TensorView<float, 3> x);

/// y = softmax(q k^T * scale) v for each head, causal: query t, counted from the end, sees every
/// position up to its own, so that with as many queries as positions query t sees 0 .. t.
/// Shapes: q, y [tokens, heads, head_dim]; k, v [positions, kv_heads, head_dim], positions >=
/// tokens, heads a multiple of kv_heads; query head h reads kv head h / (heads / kv_heads).
/// Heads may be outermost in memory, as in a cache [kv_heads, positions, head_dim]: pass its
/// transpose(0, 1). Keys and values that lie head_dim apart are then read where they are; others
/// are copied, head by head.
/// scale: usually 1 / sqrt(head_dim).
/// Errors: InvalidArgument if a shape disagrees. Accuracy: fp32, in blocks of 64 positions with a
/// running maximum; a query's result does not depend on the other queries.
/// Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; Ainslie et al. 2023, arXiv:2305.13245
/// (grouped heads); Milakov & Gimelshein 2018, arXiv:1805.02867 (running maximum).
void attention(TensorView<const float, 3> q, TensorView<const float, 3> k,
               TensorView<const float, 3> v, float scale, TensorView<float, 3> y);

}  // namespace ops
}  // namespace octet
