// Maps cut into tiles whose taps meet, for dilated ("atrous") convolution.
//
// Output pixels that lie a multiple of the rate apart read the same input pixels. All pixels with one remainder form a
// small plain convolution of their own: a tile is made of pieces of such remainders, so that what one output loaded
// serves its neighbours.
#ifndef KSEG_BASE_ATROUS_H_
#define KSEG_BASE_ATROUS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/conv_axis.h"

namespace kseg {

// `count` outputs from `first` on, `rate` apart, with the taps that reach input for at least one of them.
struct AtrousPiece {
  int64_t first = 0;
  int64_t count = 0;
  int64_t first_tap = 0;
  int64_t taps = 0;
  // Inputs that the taps meet: `inputs()` of them, from input index `first_input` on, `rate` apart. Of these, the first
  // `inside_begin` and those from `inside_end` on lie in the padding.
  int64_t first_input = 0;
  int64_t inside_begin = 0;
  int64_t inside_end = 0;

  int64_t inputs() const { return taps > 0 ? taps + count - 1 : 0; }
};

inline AtrousPiece make_atrous_piece(const ConvAxis& axis, int64_t first, int64_t count) {
  const int64_t start = first - axis.before;
  const auto steps = [&](int64_t distance) { return distance <= 0 ? 0 : (distance + axis.rate - 1) / axis.rate; };
  const int64_t inside_begin = steps(-start), inside_end = steps(axis.input - start);
  AtrousPiece piece;
  piece.first = first;
  piece.count = count;
  const int64_t low = std::max<int64_t>(inside_begin - count + 1, 0);
  const int64_t high = std::min(inside_end, axis.kernel);
  if (inside_end <= inside_begin || high <= low) return piece;
  piece.first_tap = low;
  piece.taps = high - low;
  piece.first_input = start + low * axis.rate;
  piece.inside_begin = std::max<int64_t>(inside_begin - low, 0);
  piece.inside_end = std::min(inside_end - low, piece.inputs());
  return piece;
}

// The outputs of an axis as pieces of at most `most` outputs, and those in groups of at most `most_in_group` outputs
// (or one piece).
struct AtrousPieces {
  std::vector<AtrousPiece> pieces;
  std::vector<int64_t> groups;  // group g: pieces groups[g] .. groups[g + 1]
  int64_t most_in_group = 0;    // outputs

  int64_t group_count() const { return static_cast<int64_t>(groups.size()) - 1; }
};

inline AtrousPieces cut_axis(const ConvAxis& axis, int64_t most) {
  AtrousPieces cut;
  for (int64_t remainder = 0; remainder < std::min(axis.rate, axis.output); ++remainder) {
    const int64_t count = (axis.output - remainder + axis.rate - 1) / axis.rate;
    const int64_t parts = (count + most - 1) / most;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t begin = count * part / parts, end = count * (part + 1) / parts;
      cut.pieces.push_back(make_atrous_piece(axis, remainder + begin * axis.rate, end - begin));
    }
  }
  return cut;
}

inline void group_pieces(int64_t most_in_group, AtrousPieces* cut) {
  int64_t total = 0;
  for (const AtrousPiece& piece : cut->pieces) total += piece.count;
  const int64_t groups = std::max<int64_t>((total + most_in_group - 1) / std::max<int64_t>(most_in_group, 1), 1);
  const int64_t aim = (total + groups - 1) / groups;  // groups of about equal size
  cut->groups.assign(1, 0);
  cut->most_in_group = 0;
  int64_t size = 0;
  for (size_t index = 0; index < cut->pieces.size(); ++index) {
    const int64_t count = cut->pieces[index].count;
    if (size > 0 && (size >= aim || size + count > most_in_group)) {
      cut->groups.push_back(static_cast<int64_t>(index));
      size = 0;
    }
    size += count;
    cut->most_in_group = std::max(cut->most_in_group, size);
  }
  if (!cut->pieces.empty()) cut->groups.push_back(static_cast<int64_t>(cut->pieces.size()));
}

// A map cut into tiles: groups of pieces of rows times groups of pieces of columns. Depends on the sizes alone.
struct AtrousTiles {
  static constexpr int64_t kMostOutputs = 112;  // per tile

  ConvAxis row_axis, column_axis;
  AtrousPieces rows, columns;
  int64_t images;
  int64_t most_outputs = 0;  // of any tile
  int64_t most_inputs = 0;   // of any pair of pieces

  AtrousTiles(const ConvAxis& row, const ConvAxis& column, int64_t image_count)
      : row_axis(row), column_axis(column), images(image_count) {
    // Fewer than 16 tiles would leave threads idle, small ones read the weights too often.
    const double outputs = static_cast<double>(images) * static_cast<double>(row.output) * column.output;
    const int64_t most = static_cast<int64_t>(std::clamp<double>(outputs / 16, 28, kMostOutputs));
    const int64_t most_columns = most >= 64 ? 16 : 8;
    const int64_t longest = (column.output + column.rate - 1) / column.rate;  // of the remainders of columns
    columns = cut_axis(column, most_columns);
    rows = cut_axis(row, most / std::clamp<int64_t>(longest, 1, most_columns));
    int64_t highest = 1, widest_inputs = 0, highest_inputs = 0;
    for (const AtrousPiece& piece : rows.pieces) {
      highest = std::max(highest, piece.count);
      highest_inputs = std::max(highest_inputs, piece.inputs());
    }
    for (const AtrousPiece& piece : columns.pieces) widest_inputs = std::max(widest_inputs, piece.inputs());
    group_pieces(std::max<int64_t>(most / highest, 1), &columns);
    group_pieces(std::max<int64_t>(most / std::max<int64_t>(columns.most_in_group, 1), 1), &rows);
    most_outputs = rows.most_in_group * columns.most_in_group;
    most_inputs = highest_inputs * widest_inputs;
  }

  int64_t per_image() const { return rows.group_count() * columns.group_count(); }
  int64_t count() const { return images * per_image(); }

  // Calls visit(row_piece, column_piece) for the pairs of a tile, whose outputs follow one another.
  template <class Visit>
  void visit_pairs(int64_t tile, const Visit& visit) const {
    const int64_t index = tile % per_image();
    const int64_t row_group = index / columns.group_count(), column_group = index % columns.group_count();
    for (int64_t r = rows.groups[row_group]; r < rows.groups[row_group + 1]; ++r) {
      for (int64_t c = columns.groups[column_group]; c < columns.groups[column_group + 1]; ++c) {
        visit(rows.pieces[r], columns.pieces[c]);
      }
    }
  }
  int64_t image_of(int64_t tile) const { return tile / per_image(); }

  // Calls visit(offset in pixels) for the outputs of a tile, in order.
  template <class Visit>
  void visit_outputs(int64_t tile, const Visit& visit) const {
    const int64_t image = image_of(tile) * row_axis.output;
    visit_pairs(tile, [&](const AtrousPiece& row, const AtrousPiece& column) {
      for (int64_t i = 0; i < row.count; ++i) {
        const int64_t y = image + row.first + i * row_axis.rate;
        for (int64_t j = 0; j < column.count; ++j) {
          visit(y * column_axis.output + column.first + j * column_axis.rate);
        }
      }
    });
  }
  // Likewise for the inputs that it reads.
  template <class Visit>
  void visit_inputs(int64_t tile, const Visit& visit) const {
    const int64_t image = image_of(tile) * row_axis.input;
    visit_pairs(tile, [&](const AtrousPiece& row, const AtrousPiece& column) {
      for (int64_t i = row.inside_begin; i < row.inside_end; ++i) {
        const int64_t y = image + row.first_input + i * row_axis.rate;
        for (int64_t j = column.inside_begin; j < column.inside_end; ++j) {
          visit(y * column_axis.input + column.first_input + j * column_axis.rate);
        }
      }
    });
  }
};

}  // namespace kseg

#endif  // KSEG_BASE_ATROUS_H_
