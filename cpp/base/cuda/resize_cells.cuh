// Device code for resize_cells.h.
#ifndef KSEG_BASE_CUDA_RESIZE_CELLS_CUH_
#define KSEG_BASE_CUDA_RESIZE_CELLS_CUH_

#include <cstdint>

#include "base/cuda/device.cuh"
#include "base/cuda/resize_cells.h"

namespace kseg {

// The outputs of a cell along an axis: the i-th lies first + i * step of the way from one source pixel to the other. In
// cell -1 all lie on the pixel to the right, in the last cell on the one to the left.
struct AxisCell {
  int begin;
  int count;
  float first;
  float step;
};

KSEG_DEVICE int64_t first_output(const ResizeAxis& axis, int64_t cell) {
  if (cell < 0) return 0;
  if (cell >= axis.in_size) return axis.out_size;
  if (axis.stride == 0) return cell > 0 ? axis.out_size : 0;
  const int64_t beyond = cell * axis.whole - axis.offset;
  if (beyond <= 0) return 0;
  return min((beyond + axis.stride - 1) / axis.stride, axis.out_size);
}

KSEG_DEVICE AxisCell axis_cell(const ResizeAxis& axis, int64_t cell) {
  const int64_t begin = first_output(axis, cell);
  AxisCell result{static_cast<int>(begin), static_cast<int>(first_output(axis, cell + 1) - begin), 0.0f, 0.0f};
  if (cell < 0) {
    result.first = 1.0f;
  } else if (cell + 1 < axis.in_size) {
    const float whole = static_cast<float>(axis.whole);
    result.first = static_cast<float>(axis.offset + begin * axis.stride - cell * axis.whole) / whole;
    result.step = static_cast<float>(axis.stride) / whole;
  }
  return result;
}

// A source pixel among all of the batch, that of the border for one beyond it.
KSEG_DEVICE int64_t source_pixel(const ResizeAxis& rows, const ResizeAxis& columns, int64_t image, int64_t y,
                                 int64_t x) {
  const int64_t zero = 0;
  return (image * rows.in_size + min(max(y, zero), rows.in_size - 1)) * columns.in_size +
         min(max(x, zero), columns.in_size - 1);
}

// Cells of a tile, in shared memory.
struct CellTile {
  AxisCell rows[kMostCellTile];
  AxisCell columns[kMostCellTile];
};

// The first cell of a block's tile.
struct CellOrigin {
  int64_t image;
  int64_t y;
  int64_t x;
  int64_t part;
};

// Every thread of the block calls it, after a barrier that ends the use of `tile`.
KSEG_DEVICE CellOrigin enter_tile(const CellTiles& tiles, int64_t block, CellTile* tile) {
  int64_t rest = block / tiles.parts;
  CellOrigin origin;
  origin.part = block % tiles.parts;
  origin.x = rest % tiles.across * tiles.tile_columns - 1;
  rest /= tiles.across;
  origin.y = rest % tiles.down * tiles.tile_rows - 1;
  origin.image = rest / tiles.down;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < tiles.tile_rows) {
    tile->rows[thread] = axis_cell(tiles.rows, origin.y + thread);
  } else if (thread >= kMostCellTile && thread - kMostCellTile < tiles.tile_columns) {
    tile->columns[thread - kMostCellTile] = axis_cell(tiles.columns, origin.x + thread - kMostCellTile);
  }
  __syncthreads();
  return origin;
}

// What a thread has of a tile.
template <int kRun>
struct CellUnit {
  bool active;  // whether there are outputs
  int count;    // of them
  int down;     // cell of the tile
  int right;
  float y;
  float x[kRun];
  int64_t row;  // of the first output in its image
  int64_t column;
};

template <int kRun>
KSEG_DEVICE CellUnit<kRun> unit_of(const CellTiles& tiles, const CellTile& tile, int64_t part) {
  const int64_t number = part * kCellThreads + threadIdx.x;
  const int row = static_cast<int>(number % tiles.cell_rows);
  const int first = static_cast<int>(number / tiles.cell_rows % tiles.cell_runs) * kRun;
  const int64_t cell = number / tiles.cell_rows / tiles.cell_runs;
  const bool in_tile = cell < tiles.tile_rows * tiles.tile_columns;
  CellUnit<kRun> unit;
  unit.down = in_tile ? static_cast<int>(cell) / tiles.tile_columns : 0;
  unit.right = in_tile ? static_cast<int>(cell) % tiles.tile_columns : 0;
  const AxisCell rows = tile.rows[unit.down], columns = tile.columns[unit.right];
  unit.active = in_tile && row < rows.count && first < columns.count;
  unit.count = unit.active ? min(columns.count - first, kRun) : 0;
  unit.y = fmaf(static_cast<float>(row), rows.step, rows.first);
#pragma unroll
  for (int j = 0; j < kRun; ++j) unit.x[j] = fmaf(static_cast<float>(first + j), columns.step, columns.first);
  unit.row = rows.begin + row;
  unit.column = columns.begin + first;
  return unit;
}

// The four source pixels of a cell in shared memory.
struct CellCorners {
  const float* upper_left;
  const float* upper_right;
  const float* lower_left;
  const float* lower_right;
};

template <int kRun>
KSEG_DEVICE CellCorners corners_of(const CellTiles& tiles, const CellUnit<kRun>& unit, const float* values) {
  const int across = tiles.tile_columns + 1;
  CellCorners corners;
  corners.upper_left = values + (unit.down * across + unit.right) * tiles.stride;
  corners.upper_right = corners.upper_left + tiles.stride;
  corners.lower_left = corners.upper_left + across * tiles.stride;
  corners.lower_right = corners.lower_left + tiles.stride;
  return corners;
}

// Calls visit(output, value) with the values of one class at a unit's outputs.
template <int kRun, class Visit>
KSEG_DEVICE void interpolate(const CellCorners& corners, int which, const CellUnit<kRun>& unit, const Visit& visit) {
  const float upper_left = corners.upper_left[which], upper_right = corners.upper_right[which];
  const float left = fmaf(corners.lower_left[which] - upper_left, unit.y, upper_left);
  const float right = fmaf(corners.lower_right[which] - upper_right, unit.y, upper_right);
  const float dx = right - left;
#pragma unroll
  for (int j = 0; j < kRun; ++j) visit(j, fmaf(dx, unit.x[j], left));
}

// Brings `count` classes of a tile's source pixels into shared memory, between two barriers. prepare(pixel) gives a
// function of the class.
template <class Prepare>
KSEG_DEVICE void stage_tile(const CellTiles& tiles, const CellOrigin& origin, int count, float* values,
                            const Prepare& prepare) {
  int lanes = 1;
  while (lanes < kWarpSize && lanes < count) lanes *= 2;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const int across = tiles.tile_columns + 1;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x) / lanes; i < tiles.pixels(); i += kCellThreads / lanes) {
    const auto value =
        prepare(source_pixel(tiles.rows, tiles.columns, origin.image, origin.y + i / across, origin.x + i % across));
    float* const to = values + i * tiles.stride;
    for (int which = lane; which < count; which += lanes) to[which] = value(which);
  }
  __syncthreads();
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_RESIZE_CELLS_CUH_
