// The backward pass in stages: gradients of what all rows and steps share.
//
// Those of matrices are large products after each chunk; those of vectors are summed row by row
// of the batch, and then over the rows, so that they do not depend on who computed which.
#pragma once

#include "kernels/staged_backward.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::add(const Sums& sums, int64_t b, int64_t p, int k,
                                                reg value) const {
  if (!sums.rows) return;
  T* const sum = sums.rows + ((b * s_.P + p) * sums.vectors + k) * L;
  V::store(sum, V::add(V::load(sum), value));
}

template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::products(int64_t begin, int64_t end, Team& team,
                                                     int member) {
  if (row_of_->joint) {
    const auto write = [&](int64_t first) {
      return [this, first](const reg(&sum)[4], int64_t row, int64_t p) {
        this->write_weights(sum, first + row, p);
      };
    };
    outer_product(begin, end, 0, s_.F, this->dz_, s_.P, this->weights_, this->by_gate(), team,
                  member, write(0));
    outer_product(begin, end, s_.F, s_.H, dz_h_, s_.P, sums_h_, this->by_gate(), team, member,
                  write(s_.F));
  } else {
    this->weight_gradient(begin, end, team, member);
  }
  if (d_inner_chunk_)
    outer_product(begin, end, inner_at_, s_.U, d_inner_chunk_, transform_.groups(),
                  sums_transform_, false, team, member,
                  [&](const reg(&sum)[4], int64_t row, int64_t group) {
                    write_transform(sum, row, group);
                  });
  if (d_hidden_chunk_)
    outer_product(begin, end, outward_at_, s_.U, d_hidden_chunk_, (s_.HP + N - 1) / N,
                  sums_projection_, false, team, member,
                  [&](const reg(&sum)[4], int64_t row, int64_t group) {
                    write_projection(sum, row, group);
                  });
}

// Inputs from `first` on, transposed, times d [groups][rows][4][L], added over chunks.
template <class V, class Real, class State>
template <class Write>
inline void StagedBackward<V, Real, State>::outer_product(int64_t begin, int64_t end,
                                                          int64_t first, int64_t count, const T* d,
                                                          int64_t groups, T* sums, bool by_gate,
                                                          const Team& team, int member,
                                                          Write write) {
  const int64_t K = steps_.before(end) - steps_.before(begin);
  if (K == 0) return;
  const bool fresh = steps_.before(s_.T) == steps_.before(end), last = steps_.before(begin) == 0;
  const int64_t blocks = (count + M - 1) / M;
  const Range part = share(groups * blocks, team.size(), member);
  for (int64_t n = part.begin; n < part.end && !stop_.skip(member); ++n) {
    const int64_t group = n / blocks, row = n % blocks * M;
    const T* const its = d + group * this->chunk_rows_ * kDz;
    T* const sum = sums + (group * (count + M) + row) * kDz;
    reg acc[M][4];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int k = 0; k < 4; ++k) acc[m][k] = fresh ? V::zero() : V::load(sum + (m * 4 + k) * L);
    if (by_gate)
      this->weight_product_by_gate(acc, first + row, its, K);
    else
      this->weight_product(acc, this->input_ + first + row, its, K);
    if (last) {
      for (int m = 0; m < M && row + m < count; ++m) write(acc[m], row + m, group);
      continue;
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int k = 0; k < 4; ++k) V::store(sum + (m * 4 + k) * L, acc[m][k]);
  }
}

template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::write_transform(const reg (&sum)[4], int64_t row,
                                                            int64_t group) const {
  for (int64_t p = group * N; p < std::min(s_.P, (group + 1) * N); ++p)
    Io::store(static_cast<Real*>(g_.d_output_kernel) + row * s_.U + p * L, sum[p - group * N],
              lanes(p));
}

template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::write_projection(const reg (&sum)[4], int64_t row,
                                                             int64_t group) const {
  for (int64_t p = group * N; p < std::min(s_.HP, (group + 1) * N); ++p)
    Io::store(static_cast<Real*>(g_.d_projection_kernel) + row * s_.H + p * L, sum[p - group * N],
              hidden_lanes(p));
}

// Where no step counted.
template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::write_no_products(const Team& team, int member) const {
  this->write_no_weights(team, member);
  const reg none[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  const Range rows = share(s_.U, team.size(), member);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t n = 0; g_.d_output_kernel && n < (s_.P + N - 1) / N; ++n)
      write_transform(none, row, n);
    for (int64_t n = 0; g_.d_projection_kernel && n < (s_.HP + N - 1) / N; ++n)
      write_projection(none, row, n);
  }
}

template <class V, class Real, class State>
inline void StagedBackward<V, Real, State>::write_row_sums(Range panels) {
  const auto all = [&](const Sums& sums, auto write) {
    for (int64_t p = panels.begin; sums.rows && p < panels.end; ++p)
      for (int k = 0; k < sums.vectors; ++k) {
        reg sum = V::zero();
        for (int64_t b = 0; b < s_.B; ++b)
          sum = V::add(sum, V::load(sums.rows + ((b * s_.P + p) * sums.vectors + k) * L));
        write(p, k, sum);
      }
  };
  const auto to = [&](void* array, int64_t first) {
    return [this, array, first](int64_t p, int k, reg sum) {
      Io::store(static_cast<Real*>(array) + first + k * s_.U + p * L, sum, lanes(p));
    };
  };
  all(of_bias_, to(g_.d_bias, 0));
  all(of_scale_, to(g_.d_gate_scale, row_of_->joint ? 4 * s_.U : 0));
  all(of_x_scale_, to(g_.d_gate_scale, 0));
  all(of_cell_scale_, to(g_.d_cell_scale, 0));
  all(of_cell_shift_, to(g_.d_cell_shift, 0));
  all(of_output_bias_, to(g_.d_output_bias, 0));
  all(of_peephole_, [this](int64_t p, int k, reg sum) {
    V::store(this->d_peephole_ + (p * 3 + k) * L, sum);
  });
}

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
