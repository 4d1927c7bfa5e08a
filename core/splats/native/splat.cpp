// The frame: what is computed in which order, and by whom. The arithmetic is in kernels.cpp.
//
//   project          threads over blocks of Gaussians
//   sort by depth    radix over the bits in which the depths differ (Gaussians are sorted, not their tile pairs)
//   bin              stable counting sort into tiles, one row of counts per block: depth order survives
//   raster           threads over tiles
//
// No step depends on how many threads take part, so neither does a single byte of any result.
#include "splat.h"

#if defined(SPLAT_X86)
#include <cpuid.h>
#endif

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>

#include "kernels.h"
#include "pool.h"

namespace {

// Memory that only grows and is not initialised: no allocation from the second frame on.
template <class T>
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { release(); }
    T* reserve(int64_t count) {
        if (count > room) {
            release();
            const int64_t wanted = count + count / 4;
            data = static_cast<T*>(::operator new(sizeof(T) * size_t(wanted), std::align_val_t(64)));
            room = wanted;
        }
        return data;
    }
    T* get() const { return data; }

private:
    void release() {
        if (data) ::operator delete(data, std::align_val_t(64));
        data = nullptr;
        room = 0;
    }
    T* data = nullptr;
    int64_t room = 0;
};

#if defined(SPLAT_X86)
// By hand: zig's libraries lack what __builtin_cpu_supports needs.
bool has_sse42() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 20 & 1);
}

// AVX2 and FMA in the processor, and an operating system that saves the wide registers.
bool has_avx2() {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    const unsigned fma = 1u << 12, os_saves = 1u << 27, avx = 1u << 28, wanted = fma | os_saves | avx;
    if ((c & wanted) != wanted) return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 5 & 1);
}
#endif

struct KernelSet {
    const Kernels* (*kernels)();
    bool (*runs_here)();
};
const KernelSet KERNEL_SETS[] = {  // best last
    {generic_kernels, [] { return true; }},
#if defined(SPLAT_X86)
    {sse42_kernels, has_sse42},
    {avx2_kernels, has_avx2},
#endif
};
enum { SETS = sizeof KERNEL_SETS / sizeof *KERNEL_SETS };

enum { BLOCK = 2048, MAX_SIDE = 65535, AHEAD = 16 };

}  // namespace

struct SplatContext {
    const Kernels* kernels = nullptr;
    std::mutex mutex;
    Frame frame{};
    int64_t count = 0, visible = 0, pair_count = 0;
    int32_t coefficients = 0;
    bool ready = false;  // a forward has been completed
    int64_t spent[6] = {};
    Buffer<Record> records;
    Buffer<TileBox> boxes;
    Buffer<uint64_t> pairs, sorted;
    Buffer<uint32_t> ids, counts, slots, positions;
    Buffer<int64_t> offsets, found;
    Buffer<float> gradients, totals, feature_totals, poses;
};

namespace {

// Nanoseconds since the last call.
class Clock {
public:
    int64_t lap() {
        const auto now = std::chrono::steady_clock::now(), before = last;
        last = now;
        return std::chrono::duration_cast<std::chrono::nanoseconds>(now - before).count();
    }

private:
    std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
};

void place_camera(Frame& f, const SplatView& v) {
    Camera& c = f.camera;
    const float* M = v.world_to_camera;
    for (int r = 0; r < 3; r++) {
        for (int k = 0; k < 3; k++) c.R[3 * r + k] = M[4 * r + k];
        c.t[r] = M[4 * r + 3];
    }
    for (int k = 0; k < 3; k++) c.position[k] = -(c.R[k] * c.t[0] + c.R[3 + k] * c.t[1] + c.R[6 + k] * c.t[2]);
    c.fx = v.intrinsics[0], c.fy = v.intrinsics[4], c.cx = v.intrinsics[2], c.cy = v.intrinsics[5];
    const float W = float(v.width), H = float(v.height), over_x = 0.15f * W / c.fx, over_y = 0.15f * H / c.fy;
    c.left = -(c.cx / c.fx + over_x), c.right = (W - c.cx) / c.fx + over_x;
    c.top = -(c.cy / c.fy + over_y), c.bottom = (H - c.cy) / c.fy + over_y;
    c.near_plane = v.near_plane, c.far_plane = v.far_plane, c.blur = v.blur, c.radius_clip = v.radius_clip;
    c.width = v.width, c.height = v.height, c.antialiased = v.antialiased != 0;
    std::copy(v.background, v.background + 3, f.background);
    const bool large = v.tile ? v.tile == 2 : int64_t(v.width) * v.height > 640 * 640;
    f.tile_width = large ? 64 : 16, f.tile_height = large ? 64 : 32;
    f.tiles_x = (v.width + f.tile_width - 1) / f.tile_width;
    f.tiles_y = (v.height + f.tile_height - 1) / f.tile_height;
}

// Visible (depth, index) pairs of all blocks, sorted by depth; equal depths stay in the order of the input.
// The last frame's order is not repaired instead: for 60,000 Gaussians on a turning head, warm, this radix sort takes
// 0.20 ms whatever the motion; insertion into the old order 0.09 ms at rest, 0.49 at 0.01 degrees a frame, 0.67 at 0.05,
// and from 0.2 degrees on each Gaussian passes more than twenty others (1 ms before giving up).
const uint64_t* sort_by_depth(SplatContext& c, int64_t blocks) {
    const int64_t* found = c.found.get();
    uint64_t *pairs = c.pairs.get(), *other = c.sorted.get();
    uint32_t least = UINT32_MAX, most = 0;
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = 0; k < found[b]; k++) {
            const uint32_t key = uint32_t(pairs[b * BLOCK + k] >> 32);
            least = std::min(least, key), most = std::max(most, key);
        }
    if (!c.visible) return pairs;
    int bits = 0;
    while (bits < 32 && (most - least) >> bits) bits++;
    const int passes = std::max(1, (bits + 10) / 11), digit = (bits + passes - 1) / passes;
    const uint32_t mask = (1u << digit) - 1;
    static thread_local uint32_t histogram[3][2048];
    std::memset(histogram, 0, sizeof histogram);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = 0; k < found[b]; k++) {
            const uint32_t key = uint32_t(pairs[b * BLOCK + k] >> 32) - least;
            for (int p = 0; p < passes; p++) histogram[p][key >> (p * digit) & mask]++;
        }
    for (int p = 0; p < passes; p++) {
        uint32_t sum = 0;
        for (uint32_t k = 0; k <= mask; k++) {
            const uint32_t here = histogram[p][k];
            histogram[p][k] = sum;
            sum += here;
        }
    }
    for (int64_t b = 0; b < blocks; b++)  // the first pass closes the gaps between blocks
        for (int64_t k = 0; k < found[b]; k++) {
            const uint64_t pair = pairs[b * BLOCK + k];
            other[histogram[0][(uint32_t(pair >> 32) - least) & mask]++] = pair;
        }
    for (int p = 1; p < passes; p++) {
        std::swap(pairs, other);
        for (int64_t k = 0; k < c.visible; k++)
            other[histogram[p][(uint32_t(pairs[k] >> 32) - least) >> (p * digit) & mask]++] = pairs[k];
    }
    return other;
}

int32_t bin(SplatContext& c, SplatPool& pool, const uint64_t* sorted) {
    Frame& f = c.frame;
    const int64_t tiles = int64_t(f.tiles_x) * f.tiles_y;
    const int64_t blocks = std::min<int64_t>(pool.threads(), std::max<int64_t>(1, c.visible / 1024));
    uint32_t *counts = c.counts.reserve(blocks * tiles + blocks), *first_slots = counts + blocks * tiles;
    const auto each_tile = [&](int64_t block, auto&& begin, auto&& visit) {
        for (int64_t k = c.visible * block / blocks, end = c.visible * (block + 1) / blocks; k < end; k++) {
            if (k + AHEAD < end) __builtin_prefetch(f.boxes + uint32_t(sorted[k + AHEAD]));
            const uint32_t id = uint32_t(sorted[k]);
            const TileBox box = f.boxes[id];
            begin(id);
            for (int64_t y = box.y0; y < box.y1; y++)
                for (int64_t x = box.x0; x < box.x1; x++) visit(y * f.tiles_x + x, id);
        }
    };
    pool.run(blocks, [&](int64_t block) {
        uint32_t* row = counts + block * tiles;
        std::memset(row, 0, sizeof(uint32_t) * size_t(tiles));
        each_tile(block, [](uint32_t) {}, [&](int64_t tile, uint32_t) { row[tile]++; });
    });
    uint32_t slots = 0;
    for (int64_t block = 0; block < blocks; block++) {
        first_slots[block] = slots;
        slots = std::accumulate(counts + block * tiles, counts + (block + 1) * tiles, slots);
    }
    int64_t sum = 0;
    for (int64_t tile = 0; tile < tiles; tile++) {
        f.offsets[tile] = sum;
        for (int64_t block = 0; block < blocks; block++) {
            const uint32_t here = counts[block * tiles + tile];
            counts[block * tiles + tile] = uint32_t(sum);
            sum += here;
        }
    }
    f.offsets[tiles] = sum;
    pool.run(blocks, [&](int64_t block) {
        uint32_t *row = counts + block * tiles, slot = first_slots[block];
        each_tile(block, [&](uint32_t id) { f.slots[id] = slot; },
                  [&](int64_t tile, uint32_t id) {
                      const uint32_t at = row[tile]++;
                      f.ids[at] = id;
                      f.positions[slot++] = at;
                  });
    });
    return SPLAT_OK;
}

bool cancelled(const SplatView& view) {
    return view.cancel && __atomic_load_n(view.cancel, __ATOMIC_RELAXED);
}

bool valid(const SplatScene* s, const SplatView* v) {
    if (!s || !v || s->count < 0 || s->count > INT32_MAX) return false;
    const int32_t K = s->coefficients;
    if (K != 0 && K != 1 && K != 4 && K != 9 && K != 16) return false;
    if (s->feature_count < 0 || s->feature_count > SPLAT_MAX_FEATURES || (s->feature_count && s->count && !s->features)) return false;
    if (v->tile < 0 || v->tile > 2) return false;
    return v->width > 0 && v->height > 0 && v->width <= MAX_SIDE && v->height <= MAX_SIDE && v->intrinsics[0] > 0 && v->intrinsics[4] > 0;
}

int32_t forward(SplatContext& c, SplatPool& pool, const SplatScene& scene, const SplatView& view, const SplatImage& image) {
    c.ready = false;
    Clock clock;
    Frame& f = c.frame;
    const int64_t N = c.count = scene.count;
    c.coefficients = scene.coefficients;
    f.features = scene.features, f.feature_count = scene.feature_count;
    place_camera(f, view);
    const int64_t tiles = int64_t(f.tiles_x) * f.tiles_y, blocks = (N + BLOCK - 1) / BLOCK;
    f.records = c.records.reserve(N), f.boxes = c.boxes.reserve(N), f.pairs = c.pairs.reserve(N), c.sorted.reserve(N);
    f.offsets = c.offsets.reserve(tiles + 1);
    int64_t* found = c.found.reserve(2 * blocks);
    pool.run(blocks, [&](int64_t b) {
        const int64_t begin = b * BLOCK, end = std::min(N, begin + BLOCK);
        found[b] = cancelled(view) ? 0 : c.kernels->project(f, scene, begin, end);
        int64_t area = 0;
        for (int64_t k = 0; k < found[b]; k++) {
            const TileBox box = f.boxes[uint32_t(f.pairs[begin + k])];
            area += int64_t(box.x1 - box.x0) * (box.y1 - box.y0);
        }
        found[blocks + b] = area;
    });
    if (cancelled(view)) return SPLAT_CANCELLED;
    c.visible = c.pair_count = 0;
    for (int64_t b = 0; b < blocks; b++) c.visible += found[b], c.pair_count += found[blocks + b];
    if (c.pair_count > UINT32_MAX) return SPLAT_TOO_LARGE;
    f.ids = c.ids.reserve(c.pair_count), f.positions = c.positions.reserve(c.pair_count), f.slots = c.slots.reserve(N);
    c.spent[0] = clock.lap();
    const uint64_t* sorted = sort_by_depth(c, blocks);
    c.spent[1] = clock.lap();
    bin(c, pool, sorted);
    c.spent[2] = clock.lap();
    pool.run(tiles, [&](int64_t tile) {
        if (cancelled(view)) return;
        c.kernels->raster(f, int32_t(tile), PICTURE, image);
        for (int k = FIRST_FEATURES; image.features && k < f.feature_count && !cancelled(view); k += NEXT_FEATURES)
            c.kernels->raster(f, int32_t(tile), k, image);
    });
    if (cancelled(view)) return SPLAT_CANCELLED;
    c.spent[3] = clock.lap();
    c.ready = true;
    return SPLAT_OK;
}

// The gradients of features first ... first + count - 1, which `sums` holds from `column` on. Where these sums are of a
// walk of their own, their moments belong to the same Gaussians' totals.
void hand_out_features(const SplatContext& c, SplatPool& pool, const float* sums, int column, int64_t first, int64_t count, float* out) {
    const Frame& f = c.frame;
    const int64_t N = c.count, M = f.feature_count, last = std::min(M, first + count);
    pool.run((N + BLOCK - 1) / BLOCK, [&](int64_t b) {
        for (int64_t i = b * BLOCK, end = std::min(N, i + BLOCK); i < end; i++) {
            const bool seen = f.boxes[i].x0 != f.boxes[i].x1;
            for (int j = 0; seen && sums != f.totals && j < 6; j++) f.totals[i * WIDE_SLOT + j] += sums[i * WIDE_SLOT + j];
            for (int64_t j = first; out && j < last; j++) out[i * M + j] = seen ? sums[i * WIDE_SLOT + column + j - first] : 0.f;
        }
    });
}

// The walks after the first; false when cancelled.
bool features_backward(SplatContext& c, SplatPool& pool, const SplatView& view, const SplatImage& image, const SplatImage& gradient,
                       const SplatGradients& out) {
    Frame& f = c.frame;
    const int64_t N = c.count, M = f.feature_count, tiles = int64_t(f.tiles_x) * f.tiles_y;
    if (!gradient.features || !M) {
        if (out.features) std::fill(out.features, out.features + N * M, 0.f);
        return true;
    }
    hand_out_features(c, pool, f.totals, 10, 0, FIRST_FEATURES, out.features);
    float* const own = M > FIRST_FEATURES ? c.feature_totals.reserve(N * WIDE_SLOT) : nullptr;
    for (int first = FIRST_FEATURES; first < M; first += NEXT_FEATURES) {
        pool.run(tiles, [&](int64_t tile) {
            if (!cancelled(view)) c.kernels->raster_backward(f, int32_t(tile), first, image, gradient);
        });
        if (cancelled(view)) return false;
        Frame walk = f;
        walk.totals = own;
        pool.run(tiles, [&](int64_t tile) { c.kernels->add_up(walk, int32_t(tile), WIDE_SLOT); });
        hand_out_features(c, pool, own, 6, first, NEXT_FEATURES, out.features);
    }
    return true;
}

// The blocks' sums in their order, so that no thread changes a bit; then the position -R^T t back to R and t.
void add_poses(const Camera& c, const float* poses, int64_t blocks, float* out) {
    double sum[POSE_SLOT] = {};
    for (int64_t b = 0; b < blocks; b++)
        for (int k = 0; k < POSE_SLOT; k++) sum[k] += poses[b * POSE_SLOT + k];
    const double* position = sum + 12;
    std::fill(out, out + 16, 0.f);
    for (int r = 0; r < 3; r++) {
        double shift = sum[9 + r];
        for (int k = 0; k < 3; k++) {
            out[4 * r + k] = float(sum[3 * r + k] - double(c.t[r]) * position[k]);
            shift -= double(c.R[3 * r + k]) * position[k];
        }
        out[4 * r + 3] = float(shift);
    }
}

int32_t backward(SplatContext& c, SplatPool& pool, const SplatScene& scene, const SplatView& view, const SplatImage& image,
                 const SplatImage& gradient, const SplatGradients& out) {
    Frame& f = c.frame;
    if (!c.ready || c.count != scene.count || c.coefficients != scene.coefficients || f.feature_count != scene.feature_count)
        return SPLAT_NO_FORWARD;
    f.features = scene.features;
    if (f.camera.width != view.width || f.camera.height != view.height) return SPLAT_NO_FORWARD;
    if (gradient.features && f.feature_count && !image.features) return SPLAT_BAD_ARGUMENT;
    Clock clock;
    const int64_t N = c.count, blocks = (N + BLOCK - 1) / BLOCK;
    const int width = gradient.features && f.feature_count ? WIDE_SLOT : SLIM_SLOT;
    f.gradients = c.gradients.reserve(c.pair_count * width);
    f.totals = c.totals.reserve(N * WIDE_SLOT);
    pool.run(int64_t(f.tiles_x) * f.tiles_y, [&](int64_t tile) {
        if (!cancelled(view)) c.kernels->raster_backward(f, int32_t(tile), PICTURE, image, gradient);
    });
    if (cancelled(view)) return SPLAT_CANCELLED;
    c.spent[4] = clock.lap();
    pool.run(int64_t(f.tiles_x) * f.tiles_y, [&](int64_t tile) { c.kernels->add_up(f, int32_t(tile), width); });
    if (!features_backward(c, pool, view, image, gradient, out)) return SPLAT_CANCELLED;
    float* poses = out.world_to_camera ? c.poses.reserve(blocks * POSE_SLOT) : nullptr;
    pool.run(blocks, [&](int64_t b) {
        c.kernels->project_backward(f, scene, b * BLOCK, std::min(N, (b + 1) * BLOCK), out, poses ? poses + b * POSE_SLOT : nullptr);
    });
    if (poses) add_poses(f.camera, poses, blocks, out.world_to_camera);
    c.spent[5] = clock.lap();
    return SPLAT_OK;
}

template <class Work>
int32_t guarded(const Work& work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return SPLAT_NO_MEMORY;
    } catch (...) {
        return SPLAT_BAD_ARGUMENT;
    }
}

// -------------------------------------------------------------------------------------------------- pose of a binding

struct TriangleFrame { float origin[3], rotation[9], quat[4], scale; };

float length(const float* v) { return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]); }

void cross(const float* a, const float* b, float* out) {
    out[0] = a[1] * b[2] - a[2] * b[1], out[1] = a[2] * b[0] - a[0] * b[2], out[2] = a[0] * b[1] - a[1] * b[0];
}

// Unit wxyz quaternion with w >= 0 of a row-major rotation, by its largest component.
void to_quat(const float* R, float* q) {
    const float squares[4] = {1 + R[0] + R[4] + R[8], 1 + R[0] - R[4] - R[8], 1 - R[0] + R[4] - R[8], 1 - R[0] - R[4] + R[8]};
    const float yz = R[7] - R[5], zx = R[2] - R[6], xy = R[3] - R[1];
    switch (std::max_element(squares, squares + 4) - squares) {
        case 0: q[0] = squares[0], q[1] = yz, q[2] = zx, q[3] = xy; break;
        case 1: q[0] = yz, q[1] = squares[1], q[2] = R[1] + R[3], q[3] = R[2] + R[6]; break;
        case 2: q[0] = zx, q[1] = R[1] + R[3], q[2] = squares[2], q[3] = R[5] + R[7]; break;
        default: q[0] = xy, q[1] = R[2] + R[6], q[2] = R[5] + R[7], q[3] = squares[3];
    }
    const float per_length = (q[0] < 0 ? -1 : 1) / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    for (int k = 0; k < 4; k++) q[k] *= per_length;
}

// core/geometry/triangles.py in C: the columns are the first edge, the normal and their cross product.
void frame_of(const float* a, const float* b, const float* c, TriangleFrame& t) {
    const float tiny = 1e-12f;
    float x[3], y[3], z[3], other[3];
    for (int k = 0; k < 3; k++) {
        t.origin[k] = (a[k] + b[k] + c[k]) / 3;
        x[k] = b[k] - a[k];
        other[k] = c[k] - a[k];
    }
    const float edge = length(x);
    if (edge > tiny)
        for (int k = 0; k < 3; k++) x[k] /= edge;
    else
        x[0] = 1, x[1] = x[2] = 0;
    cross(x, other, y);
    const float height = length(y);
    if (height > tiny * std::max(edge, 1.f)) {
        for (int k = 0; k < 3; k++) y[k] /= height;
    } else {  // no area: any normal
        if (std::fabs(x[0]) > 0.7f)
            y[0] = -x[1], y[1] = x[0], y[2] = 0;
        else
            y[0] = 0, y[1] = -x[2], y[2] = x[1];
        const float n = length(y);
        for (int k = 0; k < 3; k++) y[k] /= n;
    }
    cross(x, y, z);
    for (int k = 0; k < 3; k++) t.rotation[3 * k] = x[k], t.rotation[3 * k + 1] = y[k], t.rotation[3 * k + 2] = z[k];
    to_quat(t.rotation, t.quat);
    t.scale = 0.5f * (edge + height);
}

}  // namespace

int32_t splat_abi() { return SPLAT_ABI; }

const char* splat_build() {
#if defined(__clang__)
#define SPLAT_COMPILER "clang " __clang_version__
#else
#define SPLAT_COMPILER "gcc " __VERSION__
#endif
    return SPLAT_COMPILER;
}

int32_t splat_kernels(int32_t index, char* name, int32_t room) {
    if (index < 0 || index >= SETS) return -1;
    if (name && room > 0) {
        std::strncpy(name, KERNEL_SETS[index].kernels()->name, size_t(room) - 1);
        name[room - 1] = 0;
    }
    return KERNEL_SETS[index].runs_here();
}

SplatPool* splat_pool_create(int32_t threads) {
    try {
        return new SplatPool(threads);
    } catch (...) {
        return nullptr;
    }
}

int32_t splat_pool_threads(const SplatPool* pool) { return pool ? pool->threads() : 0; }

void splat_pool_destroy(SplatPool* pool) { delete pool; }

SplatContext* splat_create(int32_t kernels) {
    if (kernels < 0)
        for (kernels = SETS - 1; !KERNEL_SETS[kernels].runs_here();) kernels--;
    if (kernels >= SETS || !KERNEL_SETS[kernels].runs_here()) return nullptr;
    SplatContext* c = new (std::nothrow) SplatContext;
    if (c) c->kernels = KERNEL_SETS[kernels].kernels();
    return c;
}

void splat_destroy(SplatContext* c) { delete c; }

int32_t splat_forward(SplatContext* c, SplatPool* pool, const SplatScene* scene, const SplatView* view, const SplatImage* image) {
    if (!c || !pool || !image || !image->colour || !image->alpha || !valid(scene, view)) return SPLAT_BAD_ARGUMENT;
    std::lock_guard<std::mutex> lock(c->mutex);
    return guarded([&] { return forward(*c, *pool, *scene, *view, *image); });
}

int32_t splat_backward(SplatContext* c, SplatPool* pool, const SplatScene* scene, const SplatView* view, const SplatImage* image,
                       const SplatImage* gradient, const SplatGradients* out) {
    if (!c || !pool || !image || !image->colour || !image->alpha || !gradient || !gradient->colour || !out || !valid(scene, view))
        return SPLAT_BAD_ARGUMENT;
    if (!out->means || !out->quats || !out->scales || !out->opacities || !out->harmonics) return SPLAT_BAD_ARGUMENT;
    std::lock_guard<std::mutex> lock(c->mutex);
    return guarded([&] { return backward(*c, *pool, *scene, *view, *image, *gradient, *out); });
}

void splat_statistics(const SplatContext* c, int64_t* values) {
    values[0] = c->visible, values[1] = c->pair_count, values[2] = c->frame.tile_width, values[3] = c->frame.tile_height;
    std::copy(c->spent, c->spent + 6, values + 4);
}

int32_t splat_carry(SplatPool* pool, int64_t vertex_count, const float* vertices, int64_t face_count, const int32_t* faces,
                    int64_t count, const int32_t* triangles, const float* offsets, const float* quats, const float* scales,
                    float* means_out, float* quats_out, float* scales_out) {
    if (!pool || vertex_count < 0 || face_count < 0 || count < 0) return SPLAT_BAD_ARGUMENT;
    return guarded([&]() -> int32_t {
        for (int64_t k = 0; k < 3 * face_count; k++)
            if (faces[k] < 0 || faces[k] >= vertex_count) return SPLAT_BAD_ARGUMENT;
        for (int64_t k = 0; k < count; k++)
            if (triangles[k] < 0 || triangles[k] >= face_count) return SPLAT_BAD_ARGUMENT;
        std::unique_ptr<TriangleFrame[]> frames(new TriangleFrame[size_t(face_count)]);
        pool->run((face_count + BLOCK - 1) / BLOCK, [&](int64_t block) {
            for (int64_t k = block * BLOCK, end = std::min(face_count, k + BLOCK); k < end; k++) {
                const int32_t* face = faces + 3 * k;
                frame_of(vertices + 3 * int64_t(face[0]), vertices + 3 * int64_t(face[1]), vertices + 3 * int64_t(face[2]), frames[size_t(k)]);
            }
        });
        pool->run((count + BLOCK - 1) / BLOCK, [&](int64_t block) {
            for (int64_t k = block * BLOCK, end = std::min(count, k + BLOCK); k < end; k++) {
                const TriangleFrame& t = frames[size_t(triangles[k])];
                const float *o = offsets + 3 * k, *q = quats + 4 * k, *r = t.quat, *R = t.rotation;
                for (int j = 0; j < 3; j++) {
                    means_out[3 * k + j] = t.origin[j] + t.scale * (R[3 * j] * o[0] + R[3 * j + 1] * o[1] + R[3 * j + 2] * o[2]);
                    scales_out[3 * k + j] = t.scale * scales[3 * k + j];
                }
                float* p = quats_out + 4 * k;
                p[0] = r[0] * q[0] - r[1] * q[1] - r[2] * q[2] - r[3] * q[3];
                p[1] = r[0] * q[1] + r[1] * q[0] + r[2] * q[3] - r[3] * q[2];
                p[2] = r[0] * q[2] - r[1] * q[3] + r[2] * q[0] + r[3] * q[1];
                p[3] = r[0] * q[3] + r[1] * q[2] - r[2] * q[1] + r[3] * q[0];
            }
        });
        return SPLAT_OK;
    });
}
