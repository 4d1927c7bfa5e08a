// What splat.cpp and each compiled set of kernels (kernels.cpp, once per instruction set) have in common. Plain data
// only: an inline function here would be compiled for several instruction sets and the linker keeps any one of them.
#pragma once
#include <cstdint>

#include "splat.h"

// One projected Gaussian. In pixels: s(dx, dy) = (root dy + slope dx)^2 + across dx^2 + level, and its opacity there is
// exp(-8 s). This factored form of the conic costs the same two multiply-adds as the expanded one and does not cancel.
struct alignas(64) Record {
    float x, y;            // centre
    float root, slope;     // sqrt(c / 16), b / (16 root), for the inverse covariance (a b; b c)
    float across, level;   // 1 / (16 cov_xx), -ln(opacity) / 8
    float half_x, half_y;  // half extents of {alpha >= 1/255}, with slack for rounding
    float ridge, per_root, lean;  // slope / root, 1 / root, dx of the lowest point (dy = half_y)
    float slack;           // rows by which a computed row range is widened against rounding
    float r, g, b, z;
};

struct TileBox { uint16_t x0, y0, x1, y1; };  // tiles touched, half-open; empty when dropped

struct Camera {
    float R[9], t[3], position[3];
    float fx, fy, cx, cy;
    float left, right, top, bottom;  // limits of x/z and y/z for the Jacobian
    float near_plane, far_plane, blur, radius_clip;
    int32_t width, height;
    bool antialiased;
};

enum {
    // Floats kept per Gaussian-tile pair in the backward pass: six moments, then a sum for each channel of the walk.
    SLIM_SLOT = 12,      // colour and z
    WIDE_SLOT = 16,      // also FIRST_FEATURES; or NEXT_FEATURES alone
    POSE_SLOT = 16,      // gradients to R, t and the camera's position as it colours the harmonics, padding
    FIRST_FEATURES = 4,  // composited together with colour and z
    NEXT_FEATURES = 8,   // composited in each further walk over a tile
    PICTURE = -1,        // in place of a first feature: the walk that composites colour, z and the first features
};

struct Frame {
    Camera camera;
    float background[3];
    int32_t tile_width, tile_height, tiles_x, tiles_y;
    Record* records;     // (N,)
    TileBox* boxes;      // (N,)
    uint64_t* pairs;     // (N,) depth bits << 32 | index, visible ones of each block first
    uint32_t* ids;       // Gaussians of tile t, near to far: ids[offsets[t]] ... ids[offsets[t + 1] - 1]
    int64_t* offsets;    // (tiles + 1,)
    // Gradients are written in the order of ids, then added up for each Gaussian by the first of its tiles, whose
    // neighbours' lists are still in the cache; writing or reading them in the order of Gaussians costs twice as much.
    float* gradients;     // (pairs, SLIM_SLOT or WIDE_SLOT) in the order of ids
    uint32_t* slots;      // (N,) first entry of each Gaussian with tiles in `positions`; its tiles follow in row-major order
    uint32_t* positions;  // (pairs,) where in `ids` and `gradients`; written by the forward pass, which walks them in order
    float* totals;        // (N, WIDE_SLOT), undefined for Gaussians without tiles
    const float* features;  // (N, feature_count)
    int32_t feature_count;
};

struct Kernels {
    const char* name;
    // Gaussians begin ... end - 1: records, boxes, pairs from pairs + begin on. Returns how many are visible.
    int64_t (*project)(const Frame&, const SplatScene&, int64_t begin, int64_t end);
    // first_feature: PICTURE, or the first of the NEXT_FEATURES to composite
    void (*raster)(const Frame&, int32_t tile, int first_feature, const SplatImage&);
    void (*raster_backward)(const Frame&, int32_t tile, int first_feature, const SplatImage& image, const SplatImage& gradient);
    void (*add_up)(const Frame&, int32_t tile, int width);  // width: SLIM_SLOT or WIDE_SLOT
    void (*project_backward)(const Frame&, const SplatScene&, int64_t begin, int64_t end, const SplatGradients&, float* pose);  // pose: POSE_SLOT floats or null
};

const Kernels* generic_kernels();
const Kernels* sse42_kernels();
const Kernels* avx2_kernels();
