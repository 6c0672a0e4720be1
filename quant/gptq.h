#pragma once
// Rounding weights so that a linear's output changes least: GPTQ (Frantar et al. 2022,
// arXiv:2210.17323) in the form of LDLQ (Chee et al. 2023, arXiv:2307.13304, theorem 6), which
// gives the same result without the inverse of the Hessian.
//
// With H = sum of x x^T over calibration inputs, an error e = w - s q of a row costs e H e^T. For
// H = U D U^T, U unit upper triangular, that is the sum over k of D_k (e U)_k^2, which is small
// when each column, in rising order, is rounded after the errors before it are added:
//   q_k = round((w_k + sum over j < k of e_j U_jk) / s)
#include <cstdint>
#include <vector>

namespace octet::quant {

/// What calibration tells about the inputs of a linear with k channels.
struct Feedback {
  std::vector<float> upper;       ///< U [k, k]; what is not above the diagonal is not read
  std::vector<float> importance;  ///< [k], the diagonal of H
};

/// w [rows, k] to q in [-127, 127] with a scale a row: of absmax / 127 and some smaller clips the
/// one with the least sum of importance * (rounding error)^2. A row whose scale is 0 gives zeros.
/// Shapes: w, q [rows, k] row-major; scale [rows]. k <= kernels::max_k. All weights are finite.
void round_rows(const float* w, int64_t rows, int64_t k, const Feedback& feedback, int8_t* q,
                float* scale);

/// The same with a scale a group of 128 along k. scale [rows, num_groups(k)] is bfloat16.
void round_rows_grouped(const float* w, int64_t rows, int64_t k, const Feedback& feedback,
                        int8_t* q, uint16_t* scale);

}  // namespace octet::quant
