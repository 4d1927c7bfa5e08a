// C ABI of loquent's Gaussian rasteriser. All arrays are float32, C-contiguous and belong to the caller.
//
// Semantics are those of gsplat 1.5.3 (classic mode; antialiased mode on request): pixel centres at +0.5, covariance blur 0.3 px^2, alpha at most
// 0.999, contributions below 1/255 skipped, a pixel is finished before the Gaussian that would bring its transmittance
// to 1e-4 or less, colour is max(SH + 0.5, 0). Gaussians holding NaN or Inf are dropped.
//
// A context keeps the scratch memory of one frame; splat_backward reads what the last splat_forward of the same context
// left there. Different contexts may be used from different threads at once; calls on one context wait for one another.
// Every result is the same to the byte whatever the number of threads.
#pragma once
#include <cstdint>

#if defined(_WIN32)
#define SPLAT_API extern "C" __declspec(dllexport)
#else
#define SPLAT_API extern "C" __attribute__((visibility("default")))
#endif

enum { SPLAT_ABI = 5, SPLAT_MAX_FEATURES = 4096 };

enum SplatStatus : int32_t {
    SPLAT_OK = 0,
    SPLAT_CANCELLED = 1,
    SPLAT_NO_MEMORY = 2,
    SPLAT_TOO_LARGE = 3,   // more Gaussian-tile pairs than 32 bits count
    SPLAT_BAD_ARGUMENT = 4,
    SPLAT_NO_FORWARD = 5,  // splat_backward without a matching splat_forward
};

struct SplatPool;     // worker threads; may serve many contexts, one parallel section at a time
struct SplatContext;  // one frame

struct SplatScene {
    int64_t count;           // N
    const float* means;      // (N, 3) metres
    const float* quats;      // (N, 4) wxyz, any length but zero
    const float* scales;     // (N, 3) standard deviations, metres
    const float* opacities;  // (N,) 0..1
    const float* harmonics;  // (N, K, 3); with coefficients 0: (N, 3) plain colours
    const float* features;   // (N, M) further channels, composited as they are; may be null with M = 0
    int32_t coefficients;    // K: 1, 4, 9, 16, or 0
    int32_t feature_count;   // M: at most SPLAT_MAX_FEATURES
};

struct SplatView {
    float world_to_camera[16];  // row-major, OpenCV axes
    float intrinsics[9];        // row-major; the skew is not used
    float background[3];
    float near_plane, far_plane;
    float blur;         // added to the diagonal of the 2D covariance, px^2 (0.3)
    float radius_clip;  // Gaussians whose two pixel radii are at most this are dropped (0: none)
    int32_t width, height;
    int32_t antialiased;  // opacities times sqrt(det cov / det (cov + blur)): what the blur adds in width it takes in strength
    int32_t tile;         // 0: tiles by the size of the picture; 1: 16 x 32 pixels; 2: 64 x 64
    const int32_t* cancel;  // may be null; the call returns SPLAT_CANCELLED soon after it becomes non-zero
};

struct SplatImage {
    float* colour;  // (H, W, 3) premultiplied, background added
    float* alpha;   // (H, W)
    float* depth;   // (H, W) expected z, divided by alpha, 0 where alpha is 0; may be null
    float* features;      // (H, W, M) sums of weight times feature, no background; may be null
    float* median_depth;  // (H, W) z of the last Gaussian that meets a transmittance above 1/2, 0 where there is none; may be null
    const float* limit;   // (H, W) read: Gaussians at this z or beyond are not drawn, as behind a wall; may be null. Forward only
};

struct SplatGradients {
    float* means;      // (N, 3)
    float* quats;      // (N, 4)
    float* scales;     // (N, 3)
    float* opacities;  // (N,)
    float* harmonics;  // shape of the scene's
    float* means2d;    // (N, 2) d loss / d projected centre in pixels, for densification; may be null
    float* features;         // (N, M); may be null
    float* world_to_camera;  // (4, 4), all twelve numbers taken as free, last row 0; may be null
};

SPLAT_API int32_t splat_abi();
SPLAT_API const char* splat_build();  // compiler and kernels, for reports
SPLAT_API int32_t splat_kernels(int32_t index, char* name, int32_t room);  // 1 if kernel set `index` runs here, 0 if not, -1 past the end

SPLAT_API SplatPool* splat_pool_create(int32_t threads);  // threads counts the caller's own; 0: one per CPU
SPLAT_API int32_t splat_pool_threads(const SplatPool*);
SPLAT_API void splat_pool_destroy(SplatPool*);

SPLAT_API SplatContext* splat_create(int32_t kernels);  // index of a kernel set, -1: the best that runs here
SPLAT_API void splat_destroy(SplatContext*);

// The median depth takes no gradient.
SPLAT_API int32_t splat_forward(SplatContext*, SplatPool*, const SplatScene*, const SplatView*, const SplatImage*);
SPLAT_API int32_t splat_backward(SplatContext*, SplatPool*, const SplatScene*, const SplatView*, const SplatImage* image,
                                 const SplatImage* image_gradient, const SplatGradients*);
// Of the last frame: visible Gaussians, Gaussian-tile pairs, tile width, tile height, then nanoseconds spent in
// projection, sorting, binning, tiles, tiles backward, projection backward.
enum { SPLAT_STATISTICS = 10 };
SPLAT_API void splat_statistics(const SplatContext*, int64_t* values);

// Gaussians bound to triangles -> world. vertices (V,3), faces (F,3); triangles (N,), offsets (N,3), quats (N,4),
// scales (N,3) in each triangle's frame. A face or triangle index out of range gives SPLAT_BAD_ARGUMENT.
SPLAT_API int32_t splat_carry(SplatPool*, int64_t vertex_count, const float* vertices, int64_t face_count,
                              const int32_t* faces, int64_t count, const int32_t* triangles, const float* offsets,
                              const float* quats, const float* scales, float* means_out, float* quats_out,
                              float* scales_out);

// Depth of triangles, as `limit` takes it: depth (H, W) is lowered where a triangle is nearer at a pixel's centre; both its
// sides count. vertices (V,3) in the world, faces (F,3). Of the view: the camera, its planes and its size.
SPLAT_API int32_t splat_mesh_depth(SplatPool*, const SplatView*, int64_t vertex_count, const float* vertices, int64_t face_count,
                                   const int32_t* faces, float* depth);
