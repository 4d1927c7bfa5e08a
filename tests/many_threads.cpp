// Many threads draw at once with one built library: prints how many frames were right, exits with 0 if all were.
// tools/fuzz_raster.py --threads compiles it with the library for ThreadSanitizer.
//
// Each thread has a context of its own, all share two pools. When all are done they begin again with two threads to a
// context: only whole forward passes then, since a frame of the other between forward and backward would take its
// place. One thread makes and destroys pools and stops frames of others. A frame must hold the bytes it has when drawn
// alone.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "splat.h"

namespace {

enum { N = 700, K = 4, M = 6, WIDTH = 150, HEIGHT = 90, THREADS = 6, ROUNDS = 6 };

struct Work {
    uint32_t state;
    std::vector<float> means, quats, scales, opacities, harmonics, features;
    SplatScene scene{};
    SplatView view{{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5f, 0, 0, 0, 1}, {180, 0, 75, 0, 180, 45, 0, 0, 1}, {}, 0, 0, 0, 0, 0, 0, 0, 0, nullptr};

    std::vector<float> random(int count, float low, float high) {
        std::vector<float> out;
        for (int k = 0; k < count; k++) {
            state = state * 1664525u + 1013904223u;
            out.push_back(low + (high - low) * float(state >> 8) / 16777216.0f);
        }
        return out;
    }

    explicit Work(uint32_t seed) : state(seed * 977u + 5u) {
        means = random(3 * N, -0.1f, 0.1f), quats = random(4 * N, -1, 1), scales = random(3 * N, 0.001f, 0.02f);
        opacities = random(N, 0.01f, 0.99f), harmonics = random(3 * K * N, -0.5f, 0.5f), features = random(M * N, -1, 1);
        scene.count = N, scene.coefficients = K, scene.feature_count = M;
        scene.means = means.data(), scene.quats = quats.data(), scene.scales = scales.data();
        scene.opacities = opacities.data(), scene.harmonics = harmonics.data(), scene.features = features.data();
        view.near_plane = 0.01f, view.far_plane = 1e10f, view.blur = 0.3f;
        view.width = WIDTH, view.height = HEIGHT, view.tile = int32_t(1 + seed % 2);
    }
};

struct Frame {
    std::vector<float> colour, alpha, depth, features, median, means, quats, scales, opacities, harmonics, table, pose;
    SplatImage image{}, slope{};
    SplatGradients out{};

    Frame()
        : colour(3 * WIDTH * HEIGHT), alpha(WIDTH * HEIGHT), depth(alpha), features(M * WIDTH * HEIGHT), median(alpha), means(3 * N),
          quats(4 * N), scales(3 * N), opacities(N), harmonics(3 * K * N), table(M * N), pose(16) {
        image = {colour.data(), alpha.data(), depth.data(), features.data(), median.data()};
        slope = image;  // its own picture serves as the gradient of the loss
        slope.median_depth = nullptr;
        out = {means.data(), quats.data(), scales.data(), opacities.data(), harmonics.data(), nullptr, table.data(), pose.data()};
    }
    bool operator==(const Frame& o) const {
        return colour == o.colour && alpha == o.alpha && depth == o.depth && features == o.features && median == o.median &&
               means == o.means && quats == o.quats && scales == o.scales && opacities == o.opacities && harmonics == o.harmonics &&
               table == o.table && pose == o.pose;
    }
};

}  // namespace

int main() {
    std::vector<Work> works;
    std::vector<Frame> alone(THREADS);
    SplatPool* pools[2] = {splat_pool_create(3), splat_pool_create(2)};
    std::vector<SplatContext*> contexts;
    std::atomic<int> right{0}, wrong{0}, stopped{0};
    std::atomic<bool> finished{false};
    int32_t cancel = 0;
    for (int t = 0; t < THREADS; t++) {
        works.emplace_back(uint32_t(t));
        contexts.push_back(splat_create(-1));
    }
    for (int t = 0; t < THREADS; t++) {
        Frame& f = alone[t];
        splat_forward(contexts[t], pools[0], &works[t].scene, &works[t].view, &f.image);
        splat_backward(contexts[t], pools[0], &works[t].scene, &works[t].view, &f.image, &f.slope, &f.out);
    }
    auto draw = [&](int t, bool shared) {
        for (int round = 0; round < ROUNDS; round++) {
            Frame f;
            SplatPool* pool = pools[(t + round) % 2];
            if (!shared) {
                int32_t status = splat_forward(contexts[t], pool, &works[t].scene, &works[t].view, &f.image);
                status |= splat_backward(contexts[t], pool, &works[t].scene, &works[t].view, &f.image, &f.slope, &f.out);
                (status == SPLAT_OK && f == alone[t] ? right : wrong)++;
            } else {
                const int32_t status = splat_forward(contexts[t / 2], pool, &works[t].scene, &works[t].view, &f.image);
                (status == SPLAT_OK && f.colour == alone[t].colour && f.features == alone[t].features ? right : wrong)++;
            }
            SplatView view = works[t].view;  // may be stopped anywhere, and must leave the context usable
            view.cancel = &cancel;
            SplatContext* other = splat_create(-1);
            if (splat_forward(other, pool, &works[t].scene, &view, &f.image) == SPLAT_CANCELLED) stopped++;
            splat_destroy(other);
        }
    };
    std::thread disturber([&] {
        while (!finished) {
            SplatPool* pool = splat_pool_create(4);
            Frame f;
            SplatContext* context = splat_create(-1);
            splat_forward(context, pool, &works[0].scene, &works[0].view, &f.image);
            splat_destroy(context);
            splat_pool_destroy(pool);
            __atomic_store_n(&cancel, 1 - __atomic_load_n(&cancel, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        }
    });
    for (const bool shared : {false, true}) {
        std::vector<std::thread> threads;
        for (int t = 0; t < THREADS; t++) threads.emplace_back(draw, t, shared);
        for (auto& thread : threads) thread.join();
    }
    finished = true;
    disturber.join();
    for (auto* context : contexts) splat_destroy(context);
    for (auto* pool : pools) splat_pool_destroy(pool);
    std::printf("%d frames right, %d wrong, %d stopped\n", right.load(), wrong.load(), stopped.load());
    return wrong || right != 2 * THREADS * ROUNDS;
}
