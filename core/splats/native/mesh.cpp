// Depth of opaque triangles at pixel centres, for what hides Gaussians.
//
//   project          threads over triangles; the near plane cuts one into up to two
//   bin              counting sort into bands of rows
//   fill             threads over bands: the nearest wins, so no order matters and every byte is the same on any threads
#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "pool.h"
#include "splat.h"

namespace {

enum { BAND = 32, BLOCK = 4096 };

struct Point { float x, y, z; };

// A projected triangle: 1/z is linear in the picture, u . (x, y, 1); the three edges are >= 0 inside.
struct Flat {
    float edge[3][3], u[3];
    int32_t x0, y0, x1, y1;  // pixels, half-open; empty when x0 >= x1
};

struct Lens {
    float M[12], fx, fy, cx, cy, near_plane;
    int32_t width, height;
};

Point to_camera(const Lens& c, const float* v) {
    const float* M = c.M;
    return {M[0] * v[0] + M[1] * v[1] + M[2] * v[2] + M[3], M[4] * v[0] + M[5] * v[1] + M[6] * v[2] + M[7],
            M[8] * v[0] + M[9] * v[1] + M[10] * v[2] + M[11]};
}

int32_t held(double v, int32_t most) { return v <= 0 ? 0 : v >= most ? most : int32_t(v); }

// Double precision: a wall of kilometres still has its edge within a pixel.
Flat flatten(const Lens& c, const Point* p) {
    Flat f{};
    double x[3], y[3], w[3];
    for (int k = 0; k < 3; k++) {
        w[k] = 1.0 / p[k].z;
        x[k] = c.fx * p[k].x * w[k] + c.cx;
        y[k] = c.fy * p[k].y * w[k] + c.cy;
    }
    const double area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]);
    if (!std::isfinite(area) || area == 0) return f;
    f.x0 = held(std::ceil(std::min({x[0], x[1], x[2]}) - 0.5), c.width), f.x1 = held(std::floor(std::max({x[0], x[1], x[2]}) - 0.5) + 1, c.width);
    f.y0 = held(std::ceil(std::min({y[0], y[1], y[2]}) - 0.5), c.height), f.y1 = held(std::floor(std::max({y[0], y[1], y[2]}) - 0.5) + 1, c.height);
    double u[3] = {};
    for (int k = 0; k < 3; k++) {  // edge k lies opposite of corner k, and there it is 1
        const int i = (k + 1) % 3, j = (k + 2) % 3;
        const double e[3] = {(y[i] - y[j]) / area, (x[j] - x[i]) / area, (x[i] * y[j] - x[j] * y[i]) / area};
        for (int n = 0; n < 3; n++) {
            f.edge[k][n] = float(n < 2 ? e[n] : e[0] * (f.x0 + 0.5) + e[1] * (f.y0 + 0.5) + e[2]);  // from the box's first pixel
            u[n] += e[n] * w[k];
        }
    }
    f.u[0] = float(u[0]), f.u[1] = float(u[1]), f.u[2] = float(u[0] * (f.x0 + 0.5) + u[1] * (f.y0 + 0.5) + u[2]);
    return f;
}

// One or two triangles in front of the near plane; how many.
int project(const Lens& c, const Point* corner, Flat* out) {
    Point kept[4];
    int count = 0;
    for (int k = 0; k < 3; k++) {
        const Point a = corner[k], b = corner[(k + 1) % 3];
        if (a.z >= c.near_plane) kept[count++] = a;
        if ((a.z >= c.near_plane) != (b.z >= c.near_plane)) {
            const float t = (c.near_plane - a.z) / (b.z - a.z);
            kept[count++] = {a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), c.near_plane};
        }
    }
    int made = 0;
    for (int k = 2; k < count; k++) {
        const Point three[3] = {kept[0], kept[k - 1], kept[k]};
        out[made] = flatten(c, three);
        made += out[made].x0 < out[made].x1 && out[made].y0 < out[made].y1;
    }
    return made;
}

void fill(const Flat& f, int32_t first, int32_t last, int32_t width, float far_plane, float* depth) {
    const float slack = -1e-5f;  // neighbours share their edge: no pinholes between them
    for (int32_t y = std::max(first, f.y0); y < std::min(last, f.y1); y++) {
        const float dy = float(y - f.y0);
        float* row = depth + int64_t(y) * width;
        const float e0 = f.edge[0][1] * dy + f.edge[0][2], e1 = f.edge[1][1] * dy + f.edge[1][2], e2 = f.edge[2][1] * dy + f.edge[2][2], u = f.u[1] * dy + f.u[2];
        for (int32_t x = f.x0; x < f.x1; x++) {
            const float dx = float(x - f.x0);
            const bool inside = f.edge[0][0] * dx + e0 >= slack && f.edge[1][0] * dx + e1 >= slack && f.edge[2][0] * dx + e2 >= slack;
            const float z = 1.f / (f.u[0] * dx + u);
            if (inside && z > 0 && z < row[x] && z <= far_plane) row[x] = z;
        }
    }
}

}  // namespace

int32_t splat_mesh_depth(SplatPool* pool, const SplatView* view, int64_t vertex_count, const float* vertices, int64_t face_count,
                         const int32_t* faces, float* depth) {
    if (!pool || !view || !depth || vertex_count < 0 || face_count < 0 || view->width <= 0 || view->height <= 0) return SPLAT_BAD_ARGUMENT;
    try {
        Lens c{};
        std::copy(view->world_to_camera, view->world_to_camera + 12, c.M);
        c.fx = view->intrinsics[0], c.fy = view->intrinsics[4], c.cx = view->intrinsics[2], c.cy = view->intrinsics[5];
        c.near_plane = std::max(view->near_plane, 1e-6f), c.width = view->width, c.height = view->height;
        for (int64_t k = 0; k < 3 * face_count; k++)
            if (faces[k] < 0 || faces[k] >= vertex_count) return SPLAT_BAD_ARGUMENT;
        std::unique_ptr<Point[]> points(new Point[size_t(vertex_count)]);
        const auto blocks = [](int64_t n) { return (n + BLOCK - 1) / BLOCK; };
        pool->run(blocks(vertex_count), [&](int64_t b) {
            for (int64_t k = b * BLOCK, end = std::min(vertex_count, k + BLOCK); k < end; k++) points[size_t(k)] = to_camera(c, vertices + 3 * k);
        });
        std::vector<std::vector<Flat>> made(size_t(blocks(face_count)));
        for (auto& block : made) block.reserve(2 * BLOCK);  // nothing may be thrown on a worker's thread
        pool->run(blocks(face_count), [&](int64_t b) {
            for (int64_t k = b * BLOCK, end = std::min(face_count, k + BLOCK); k < end; k++) {
                const Point corner[3] = {points[size_t(faces[3 * k])], points[size_t(faces[3 * k + 1])], points[size_t(faces[3 * k + 2])]};
                Flat out[2];
                const int count = project(c, corner, out);
                for (int j = 0; j < count; j++) made[size_t(b)].push_back(out[j]);
            }
        });
        const int64_t bands = (view->height + BAND - 1) / BAND;
        std::vector<std::vector<const Flat*>> lists(static_cast<size_t>(bands));
        for (const auto& block : made)
            for (const Flat& f : block)
                for (int64_t band = f.y0 / BAND; band <= (f.y1 - 1) / BAND; band++) lists[size_t(band)].push_back(&f);
        pool->run(bands, [&](int64_t band) {
            for (const Flat* f : lists[size_t(band)]) fill(*f, int32_t(band * BAND), int32_t(band * BAND + BAND), view->width, view->far_plane, depth);
        });
        return SPLAT_OK;
    } catch (const std::bad_alloc&) {
        return SPLAT_NO_MEMORY;
    } catch (...) {
        return SPLAT_BAD_ARGUMENT;
    }
}
