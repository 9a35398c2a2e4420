#include "helpers.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace nsm {
namespace {

using std::chrono::steady_clock;

// How long a thread looks for something before it sleeps: to be woken takes about as long.
constexpr auto kPatience = std::chrono::microseconds(50);
constexpr int kLooks = 32;  // between two looks at the clock

enum State : int { idle, offered, busy };

// Looks for a while whether the state has become another one.
bool has_left(const std::atomic<int>& state, int value) {
    const auto end = steady_clock::now() + kPatience;
    do {
        for (int look = 0; look < kLooks; ++look) {
            if (state.load(std::memory_order_acquire) != value) return true;
            rest();
        }
    } while (steady_clock::now() < end);
    return false;
}

// Where a thread wakes. A scheduler may put one that slept behind the one that wakes it, on the same core, although others are
// idle, and leave it there for longer than the work takes.
class Elsewhere {
public:
    // The thread will wake on any core but this one.
    void send(pthread_t thread) {
#if defined(__linux__)
        cpu_set_t allowed;
        const int here = sched_getcpu();
        if (here < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
        allowed_ = allowed;
        CPU_CLR((std::size_t)here, &allowed);
        if (pthread_setaffinity_np(thread, sizeof allowed, &allowed) == 0) sent_ = true;
#else
        (void)thread;
#endif
    }
    // From now on it may go wherever the one that sent it may.
    void release(pthread_t thread) {
#if defined(__linux__)
        if (sent_) pthread_setaffinity_np(thread, sizeof allowed_, &allowed_);
        sent_ = false;
#else
        (void)thread;
#endif
    }

private:
#if defined(__linux__)
    cpu_set_t allowed_;
    bool sent_ = false;
#endif
};

class Helper {
public:
    Helper() {
        // Signals are for the threads of the program that this one is in.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread thread([this] { serve(); });
            thread_ = thread.native_handle();
            thread.detach();
        } catch (...) {
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
            throw;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;

    void offer(const std::function<void()>& work) {
        work_ = &work;
        if (asleep_) place_.send(thread_);
        state_.store(offered, std::memory_order_release);
        ++offers_;
        offers_.notify_one();
    }

    // Takes the offer back, or waits until the work is done.
    void release() {
        int seen = offered;
        if (state_.compare_exchange_strong(seen, idle)) return place_.release(thread_);
        while (state_.load(std::memory_order_acquire) != idle)
            if (!has_left(state_, busy)) state_.wait(busy, std::memory_order_acquire);
    }

private:
    [[noreturn]] void serve() {
        for (;;) {
            const unsigned seen = offers_;
            if (!has_left(state_, idle)) sleep(seen);
            int found = offered;
            if (!state_.compare_exchange_strong(found, busy)) continue;  // taken back; the next offer may come at once
            asleep_ = false;
            place_.release(thread_);
            (*work_)();
            state_.store(idle, std::memory_order_release);
            state_.notify_one();
        }
    }

    // Till there are more offers than those seen.
    void sleep(unsigned seen) {
        asleep_ = true;
        offers_.wait(seen);
    }

    alignas(64) std::atomic<int> state_{idle};
    std::atomic<unsigned> offers_{0};
    const std::function<void()>* work_ = nullptr;
    std::atomic<bool> asleep_{true};  // or about to be, or awake without work since, as one that has just begun
    Elsewhere place_;                  // of the one who offers, or of the thread while it is busy
    pthread_t thread_{};
};

// Those that nobody has work for. It outlives all threads, which may look at it while the process ends.
struct Bench {
    std::mutex guard;
    std::vector<Helper*> waiting;  // has room for all helpers that there are
    std::size_t helpers = 0;
    bool in_child = false;

    static Bench*& instance() {
        static Bench* bench = [] {
            // A child process has none of the threads, and a lock may be held by one of them.
            pthread_atfork(nullptr, nullptr, [] { instance() = new Bench{.in_child = true}; });
            return new Bench;
        }();
        return bench;
    }
};

// A child process must be known as one even if its parent had no helpers, but threads of OpenMP that torch had called: from
// here on, the loading of this library.
[[maybe_unused]] const Bench* const kFirst = Bench::instance();

// How GNU OpenMP calls a function on several threads; null where no such library has been loaded for all to see, as torch
// does.
using Parallel = void (*)(void (*call)(void*), void* with, unsigned threads, unsigned flags);

Parallel gnu_openmp() {
    static const auto found = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return found;
}

// Some helpers, for as long as this lives.
class Help {
public:
    Help(std::int64_t count, const std::function<void()>& work) : bench_(*Bench::instance()) {
        helpers_.reserve((std::size_t)count);
        try {
            while ((std::int64_t)helpers_.size() < count) helpers_.push_back(borrow());
        } catch (const std::system_error&) {
            // No more threads are to be had; fewer do the same.
        } catch (const std::bad_alloc&) {
            // Nor memory for them.
        }
        for (Helper* helper : helpers_) helper->offer(work);
    }
    ~Help() {
        for (Helper* helper : helpers_) helper->release();
        const std::lock_guard lock(bench_.guard);
        bench_.waiting.insert(bench_.waiting.end(), helpers_.rbegin(), helpers_.rend());
    }
    Help(const Help&) = delete;
    Help& operator=(const Help&) = delete;

private:
    Helper* borrow() {
        const std::lock_guard lock(bench_.guard);
        if (bench_.waiting.empty()) {
            bench_.waiting.reserve(bench_.helpers + 1);
            Helper* helper = std::make_unique<Helper>().release();
            ++bench_.helpers;
            return helper;
        }
        Helper* helper = bench_.waiting.back();
        bench_.waiting.pop_back();
        return helper;
    }

    Bench& bench_;
    std::vector<Helper*> helpers_;
};

// Work that may fail on any thread, for threads that nothing may be thrown on.
class Attempt {
public:
    explicit Attempt(const std::function<void()>& work) : work_(work) {}
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void operator()() noexcept {
        try {
            work_();
        } catch (...) {
            const std::lock_guard lock(guard_);
            if (!failure_) failure_ = std::current_exception();
        }
    }

    // The first failure, where the work was asked for.
    void conclude() const {
        if (failure_) std::rethrow_exception(failure_);
    }

private:
    const std::function<void()>& work_;
    std::mutex guard_;
    std::exception_ptr failure_;
};

}  // namespace

void with_helpers(std::int64_t others, const std::function<void()>& work) {
    if (others <= 0) return work();
    Attempt attempt(work);
    const std::function<void()> guarded = std::ref(attempt);
    {
        const Help help(others, guarded);
        attempt();
    }
    attempt.conclude();
}

void with_threads_of_torch(std::int64_t others, const std::function<void()>& work) {
    const Parallel parallel = gnu_openmp();
    // In a child process OpenMP waits for the threads of its parent.
    if (others <= 0 || !parallel || Bench::instance()->in_child) return with_helpers(others, work);
    Attempt attempt(work);
    parallel([](void* given) { (*static_cast<Attempt*>(given))(); }, &attempt, (unsigned)others + 1, 0);
    attempt.conclude();
}

}  // namespace nsm
