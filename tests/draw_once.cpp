// Draws one scene with every kernel set of a built library and writes the numbers: draw_once LIBRARY FILE
// tools/cross_wheels.py compiles it for each platform and runs it there or under an emulator. All input comes from
// integers, so every platform draws the same scene.
#include <cstdio>
#include <cstdlib>

#ifdef _WIN32
#include <windows.h>
static void* look_up(void* library, const char* name) { return (void*)GetProcAddress((HMODULE)library, name); }
static void* open_library(const char* path) { return (void*)LoadLibraryA(path); }
#else
#include <dlfcn.h>
static void* look_up(void* library, const char* name) { return dlsym(library, name); }
static void* open_library(const char* path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
#endif

#include "splat.h"

enum { N = 400, K = 9, M = 3, WIDTH = 120, HEIGHT = 70, TRIANGLES = 50 };

static uint32_t state = 12345;
static float between(float low, float high) {
    state = state * 1664525u + 1013904223u;
    return low + (high - low) * float(state >> 8) / 16777216.0f;
}
static void fill(float* values, int count, float low, float high) {
    for (int k = 0; k < count; k++) values[k] = between(low, high);
}

static float means[N * 3], quats[N * 4], scales[N * 3], opacities[N], harmonics[N * K * 3], features[N * M];
static float vertices[TRIANGLES * 9], offsets[N * 3], local_quats[N * 4], local_scales[N * 3];
static int32_t faces[TRIANGLES * 3], triangles[N];
static float colour[HEIGHT * WIDTH * 3], alpha[HEIGHT * WIDTH], depth[HEIGHT * WIDTH], channels[HEIGHT * WIDTH * M];
static float colour_slope[HEIGHT * WIDTH * 3], alpha_slope[HEIGHT * WIDTH], depth_slope[HEIGHT * WIDTH];
static float channels_slope[HEIGHT * WIDTH * M];
static float d_means[N * 3], d_quats[N * 4], d_scales[N * 3], d_opacities[N], d_harmonics[N * K * 3], d_means2d[N * 2];
static float d_features[N * M], d_camera[16];

#define FUNCTION(name) decltype(&name) name##_ = (decltype(&name))look_up(library, #name)

int main(int count, char** arguments) {
    void* library = count == 3 ? open_library(arguments[1]) : nullptr;
    if (!library) return 2;
    FUNCTION(splat_abi);
    FUNCTION(splat_build);
    FUNCTION(splat_kernels);
    FUNCTION(splat_pool_create);
    FUNCTION(splat_pool_destroy);
    FUNCTION(splat_create);
    FUNCTION(splat_destroy);
    FUNCTION(splat_carry);
    FUNCTION(splat_forward);
    FUNCTION(splat_backward);
    if (!splat_abi_ || splat_abi_() != SPLAT_ABI || !splat_backward_) return 3;

    fill(vertices, TRIANGLES * 9, -0.1f, 0.1f);
    for (int k = 0; k < TRIANGLES * 3; k++) faces[k] = k;
    for (int k = 0; k < N; k++) triangles[k] = k % TRIANGLES;
    fill(offsets, N * 3, -0.5f, 0.5f);
    fill(local_quats, N * 4, -1, 1);
    fill(local_scales, N * 3, 0.02f, 0.3f);
    fill(opacities, N, 0.05f, 0.95f);
    fill(harmonics, N * K * 3, -0.5f, 0.5f);
    fill(features, N * M, -1, 1);
    fill(colour_slope, HEIGHT * WIDTH * 3, -1, 1);
    fill(channels_slope, HEIGHT * WIDTH * M, -1, 1);
    fill(alpha_slope, HEIGHT * WIDTH, -1, 1);
    fill(depth_slope, HEIGHT * WIDTH, -1, 1);

    FILE* file = fopen(arguments[2], "wb");
    SplatPool* pool = splat_pool_create_(3);
    if (!file || !pool) return 4;
    if (splat_carry_(pool, TRIANGLES * 3, vertices, TRIANGLES, faces, N, triangles, offsets, local_quats, local_scales,
                     means, quats, scales))
        return 5;
    SplatScene scene = {};
    scene.count = N, scene.coefficients = K, scene.feature_count = M;
    scene.means = means, scene.quats = quats, scene.scales = scales, scene.opacities = opacities;
    scene.harmonics = harmonics, scene.features = features;
    SplatView view = {{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5f, 0, 0, 0, 1}, {180, 0, 60, 0, 180, 35, 0, 0, 1}};
    view.background[1] = 0.2f, view.near_plane = 0.01f, view.far_plane = 1e10f, view.blur = 0.3f;
    view.width = WIDTH, view.height = HEIGHT;
    SplatImage image = {}, slope = {};
    image.colour = colour, image.alpha = alpha, image.depth = depth, image.features = channels;
    slope.colour = colour_slope, slope.alpha = alpha_slope, slope.depth = depth_slope, slope.features = channels_slope;
    SplatGradients gradients = {};
    gradients.means = d_means, gradients.quats = d_quats, gradients.scales = d_scales;
    gradients.opacities = d_opacities, gradients.harmonics = d_harmonics, gradients.means2d = d_means2d;
    gradients.features = d_features, gradients.world_to_camera = d_camera;
    printf("%s:", splat_build_());
    char name[32];
    for (int32_t k = 0, runs; (runs = splat_kernels_(k, name, sizeof name)) >= 0; k++) {
        if (!runs) continue;
        SplatContext* context = splat_create_(k);
        if (!context || splat_forward_(context, pool, &scene, &view, &image)) return 6;
        if (splat_backward_(context, pool, &scene, &view, &image, &slope, &gradients)) return 7;
        splat_destroy_(context);
        printf(" %s", name);
#define WRITE(values) fwrite(values, sizeof values, 1, file)
        WRITE(colour), WRITE(alpha), WRITE(depth), WRITE(channels);
        WRITE(d_means), WRITE(d_quats), WRITE(d_scales), WRITE(d_opacities), WRITE(d_harmonics), WRITE(d_means2d);
        WRITE(d_features), WRITE(d_camera);
    }
    printf("\n");
    splat_pool_destroy_(pool);
    return fclose(file) ? 8 : 0;
}
