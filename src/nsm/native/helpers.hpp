// Threads that help with a job and are kept for the next one. What is to be done must be taken from the job piece by piece,
// by whoever comes: one thread may have to do all of it.
#pragma once

#include <cstdint>
#include <functional>

namespace nsm {

// Between two looks at what another thread is about to write.
inline void rest() {
#if defined(NSM_X86)
    __builtin_ia32_pause();
#elif defined(NSM_ARM)
    asm volatile("yield");
#endif
}

// Calls work() on this thread and on up to `others` more, and returns when none of them is in it any longer. What it throws,
// on whichever thread, is thrown from here: the first of it. A helper that
// has not woken up by the time this thread is done is not waited for: to ask for one that is there costs a system
// call at most. May be called on several threads at a time, and in a child process.
void with_helpers(std::int64_t others, const std::function<void()>& work);

// The same for work between torch's operators. Their threads stay awake for a while and would fight with others for the
// processors: where torch runs on GNU OpenMP's, so does this.
void with_threads_of_torch(std::int64_t others, const std::function<void()>& work);

}  // namespace nsm
