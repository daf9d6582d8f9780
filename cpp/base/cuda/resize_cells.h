// Bilinear resizing by cells: a cell lies between the source pixels (y, x), (y, x + 1), (y + 1, x) and (y + 1, x + 1),
// for y and x from -1 on; at the border it has the border's pixel on both sides. Plain C++.
#ifndef KSEG_BASE_CUDA_RESIZE_CELLS_H_
#define KSEG_BASE_CUDA_RESIZE_CELLS_H_

#include <algorithm>
#include <cstdint>

#include "base/cuda/launch_shape.h"

namespace kseg {

// Output i lies at (offset + i * stride) / whole source pixels: an exact fraction.
struct ResizeAxis {
  int64_t in_size;
  int64_t out_size;
  int64_t offset;
  int64_t stride;
  int64_t whole;

  // At most so many outputs lie in a cell.
  int64_t most() const {
    return stride == 0 ? out_size : std::min(out_size, whole / stride + (whole % stride != 0 ? 1 : 0));
  }
  int64_t cells() const { return in_size + 1; }
};

inline ResizeAxis resize_axis(int64_t in_size, int64_t out_size, bool align_corners) {
  if (align_corners) return {in_size, out_size, 0, in_size - 1, std::max<int64_t>(out_size - 1, 1)};
  return {in_size, out_size, in_size - out_size, 2 * in_size, 2 * out_size};  // (i + 1/2) in / out - 1/2
}

inline constexpr int kCellThreads = 256;
inline constexpr int kMostCellTile = 16;  // cells of a tile along an axis

// For kernels whose blocks take a tile of cells, with its source pixels in shared memory, some classes at a time. A
// thread has a unit: at most `run` (1, 2 or 4) outputs of a row of a cell. Cells of more units than a block has threads
// are shared by `parts` blocks.
struct CellTiles {
  ResizeAxis rows;
  ResizeAxis columns;
  int64_t batch;
  int64_t down;  // tiles
  int64_t across;
  int64_t parts;
  int64_t cell_rows;  // of outputs, at most
  int64_t cell_runs;  // of a row, at most
  int run;
  int tile_rows;  // cells
  int tile_columns;
  int chunk;  // classes at a time
  int stride;  // from pixel to pixel in shared memory: odd, so that pixels lie in different banks

  constexpr int64_t blocks() const { return batch * down * across * parts; }
  constexpr int pixels() const { return (tile_rows + 1) * (tile_columns + 1); }
  LaunchShape launch() const {
    return blocks_for(blocks(), kCellThreads, int64_t{pixels()} * stride * static_cast<int64_t>(sizeof(float)));
  }
};

inline CellTiles cell_tiles(int64_t batch, const ResizeAxis& rows, const ResizeAxis& columns, int64_t classes) {
  constexpr int64_t kSharedFloats = 6144;
  CellTiles tiles{};
  tiles.rows = rows;
  tiles.columns = columns;
  tiles.batch = batch;
  tiles.cell_rows = rows.most();
  const int64_t wide = columns.most();
  // Instructions for a class: of each output, and of what the outputs of a thread share.
  const auto cost = [&](int run) { return ceil_div(wide, run) * (3 * run + 8); };
  tiles.run = 1;
  for (const int run : {2, 4}) {
    if (cost(run) < cost(tiles.run)) tiles.run = run;
  }
  tiles.cell_runs = ceil_div(wide, tiles.run);
  const int64_t units = tiles.cell_rows * tiles.cell_runs;
  tiles.parts = ceil_div(units, kCellThreads);
  tiles.tile_rows = tiles.tile_columns = 1;
  while (tiles.tile_rows * tiles.tile_columns * 2 * units <= kCellThreads && tiles.tile_rows < kMostCellTile) {
    (tiles.tile_columns > tiles.tile_rows ? tiles.tile_rows : tiles.tile_columns) *= 2;
  }
  tiles.down = ceil_div(rows.cells(), tiles.tile_rows);
  tiles.across = ceil_div(columns.cells(), tiles.tile_columns);
  const int64_t most = kSharedFloats / tiles.pixels() - 1;
  tiles.chunk = static_cast<int>(ceil_div(classes, ceil_div(classes, most)));
  tiles.stride = tiles.chunk | 1;
  return tiles;
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_RESIZE_CELLS_H_
