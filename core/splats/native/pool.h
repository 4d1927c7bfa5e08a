// A small pool of worker threads: no OpenMP, so that nothing is shared with torch's, and no spinning, so that an
// oversubscribed machine is not slowed further (RASTER.md, traps).
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

struct SplatPool {
    explicit SplatPool(int threads) {
        if (threads <= 0) threads = int(std::thread::hardware_concurrency());
        if (threads > 256) threads = 256;
        try {
            for (int k = 1; k < threads; k++) workers.emplace_back([this] { serve(); });
        } catch (const std::exception&) {
            // the system refuses more threads: work with those there are
        }
    }

    ~SplatPool() {
        {
            std::lock_guard<std::mutex> lock(mutex);
            stopping = true;
        }
        wake.notify_all();
        for (auto& worker : workers) worker.join();
    }

    int threads() const { return int(workers.size()) + 1; }

    // Calls task(0) ... task(count - 1), on this thread and on workers that are free. Where another caller holds the
    // pool the work is done on this thread alone: never a wait for somebody else's frame.
    template <class Task>
    void run(int64_t count, const Task& task) {
        if (count <= 1 || workers.empty() || !busy.try_lock()) {
            for (int64_t k = 0; k < count; k++) task(k);
            return;
        }
        {
            std::lock_guard<std::mutex> lock(mutex);
            call = [](const void* data, int64_t k) { (*static_cast<const Task*>(data))(k); };
            argument = &task;
            total = count;
            next.store(0, std::memory_order_relaxed);
            open = true;
            round++;
        }
        if (count - 1 < int64_t(workers.size()))
            for (int64_t k = 1; k < count; k++) wake.notify_one();
        else
            wake.notify_all();
        drain();
        {
            std::unique_lock<std::mutex> lock(mutex);
            open = false;  // a worker that has not woken yet is not waited for
            done.wait(lock, [this] { return inside == 0; });
        }
        busy.unlock();
    }

private:
    void drain() {
        for (int64_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < total;) call(argument, k);
    }

    void serve() {
        std::unique_lock<std::mutex> lock(mutex);
        uint64_t seen = 0;
        for (;;) {
            wake.wait(lock, [&] { return stopping || (open && round != seen); });
            if (stopping) return;
            seen = round;
            inside++;
            lock.unlock();
            drain();
            lock.lock();
            if (--inside == 0) done.notify_one();
        }
    }

    std::mutex busy, mutex;
    std::condition_variable wake, done;
    std::vector<std::thread> workers;
    void (*call)(const void*, int64_t) = nullptr;
    const void* argument = nullptr;
    int64_t total = 0;
    std::atomic<int64_t> next{0};
    uint64_t round = 0;
    int inside = 0;
    bool open = false, stopping = false;
};
